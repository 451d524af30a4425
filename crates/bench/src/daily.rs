//! The commands of every day, as whole processes with 10,000 records, beside the least that a
//! process takes and beside other password managers that are installed here.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::peers;
use crate::prompt::time_to;
use crate::report::{Figure, Goal, median};
use crate::vault::{Home, bare_scrypt, timed};

/// Runs of one round: quick processes, those that derive a key, and those whose small difference to
/// a key derivation is measured.
const QUICK: usize = 21;
const SLOW: usize = 3;
const EXACT: usize = 11;
const PATH: &str = "folder 7/site 4207.example.org";

/// Figures 18 to 20 and 22, and the agent that they go through.
pub(crate) struct Daily {
    home: Home,
    agent: Child,
    /// How often something was written, so that each write changes something.
    writes: usize,
    quick: Vec<Quick>,
    without_agent: Figure,
    write: Figure,
    write_without_agent: Figure,
    question: Figure,
    question_time: Figure,
}

/// A command that takes a few milliseconds.
struct Quick {
    command: Command,
    ratio: Figure,
    /// With the goal for the wall time.
    absolute: Option<Figure>,
}

impl Daily {
    pub(crate) fn new(records: usize) -> anyhow::Result<Self> {
        let home = Home::new(records)?;
        let agent = start_agent(&home)?;
        let mut daily = Self {
            quick: Vec::new(),
            without_agent: Figure::new(
                "19",
                "`show` without an agent, 10,000 records: what it adds to a bare scrypt",
                "ms",
                Goal::AtMost(15.0),
            ),
            write: Figure::new(
                "20",
                "`new` through the agent ÷ bare scrypt, 10,000 records",
                "ms",
                Goal::AtMost(1.2),
            ),
            write_without_agent: Figure::new("20", "the same without an agent", "ms", Goal::Report),
            question: Figure::new(
                "22",
                "from the start of `show` to the question for the passphrase ÷ `echo`, on a terminal",
                "ms",
                Goal::Report,
            ),
            question_time: Figure::new("22", "the same, wall time", "ms", Goal::AtMost(5.0)),
            writes: 0,
            home,
            agent,
        };
        // On a terminal, a command would start an agent, which the next ones would find.
        daily
            .home
            .passmate(&["config", "set", "agent.start", "false"])?;
        // What follows is refused or asked for unless the vault is open in the agent.
        timed(&mut daily.home.command("agent", &["unlock"])?)?;
        let show = daily.home.command("agent", &["show", PATH, "password"])?;
        let find = daily.home.command("agent", &["find", "site4207"])?;
        let tab = daily.completion()?;
        for (command, ratio, absolute) in [
            (
                show,
                "`show` through the agent, 10,000 records ÷ `true`",
                "the same, wall time",
            ),
            (
                find,
                "`find` through the agent ÷ `true`",
                "the same, wall time",
            ),
            (
                tab,
                "completion through the agent ÷ `true`",
                "the same, wall time",
            ),
        ] {
            daily.quick.push(Quick {
                command,
                ratio: Figure::new("18", ratio, "ms", Goal::AtMost(5.0)),
                absolute: Some(Figure::new("18", absolute, "ms", Goal::AtMost(10.0))),
            });
        }
        Ok(daily)
    }

    /// Adds the same work of every other program that is installed.
    pub(crate) fn with_peers(mut self) -> anyhow::Result<Self> {
        for (name, command) in peers::installed(&self.home, PATH)? {
            self.quick.push(Quick {
                command,
                ratio: Figure::new("18", name, "ms", Goal::Report),
                absolute: None,
            });
        }
        Ok(self)
    }

    /// What bash runs for the Tab key after `passmate show 'folder 7/site 420`.
    fn completion(&self) -> anyhow::Result<Command> {
        let words = ["--", "passmate", "show", "folder\\ 7/site\\ 420"];
        let mut command = self.home.command("agent", &words)?;
        for (name, value) in [
            ("PASSMATE_COMPLETE", "bash"),
            ("_CLAP_COMPLETE_INDEX", "2"),
            ("_CLAP_COMPLETE_COMP_TYPE", "9"),
            ("_CLAP_COMPLETE_SPACE", "true"),
            ("_CLAP_IFS", "\n"),
        ] {
            command.env(name, value);
        }
        let found = command.output()?.stdout;
        anyhow::ensure!(
            String::from_utf8_lossy(&found).contains("4207"),
            "the Tab key completes nothing: {}",
            String::from_utf8_lossy(&found)
        );
        Ok(command)
    }

    /// One round of everything.
    pub(crate) fn measure(&mut self) -> anyhow::Result<()> {
        for quick in &mut self.quick {
            let mut empty = Command::new("true");
            let (ours, bare) = beside(QUICK, || timed(&mut quick.command), || timed(&mut empty))?;
            quick.ratio.add(ours, bare);
            if let Some(absolute) = &mut quick.absolute {
                absolute.add(ours, 1.0);
            }
        }
        let mut asks = self.home.command("no-agent", &["show", PATH, "user"])?;
        asks.env_remove("PASSMATE_PASSPHRASE_FILE");
        let mut echo = Command::new("echo");
        echo.arg("passphrase");
        let (ours, bare) = beside(
            QUICK,
            || time_to(&asks, "assphrase"),
            || time_to(&echo, "passphrase"),
        )?;
        self.question.add(ours, bare);
        self.question_time.add(ours, 1.0);
        let mut show = self.home.command("no-agent", &["show", PATH, "user"])?;
        let (ours, bare) = beside(EXACT, || timed(&mut show), derivation)?;
        self.without_agent.add(ours - bare, 1.0);
        let (ours, bare) = self.write("agent")?;
        self.write.add(ours, bare);
        let (ours, bare) = self.write("no-agent")?;
        self.write_without_agent.add(ours, bare);
        Ok(())
    }

    fn write(&mut self, runtime: &str) -> anyhow::Result<(f64, f64)> {
        let Self { home, writes, .. } = self;
        let write = || {
            *writes += 1;
            let path = format!("written/{writes}");
            timed(&mut home.command(runtime, &["new", &path])?)
        };
        beside(SLOW, write, derivation)
    }

    pub(crate) fn figures(mut self) -> Vec<Figure> {
        let quick = std::mem::take(&mut self.quick).into_iter();
        let mut figures: Vec<_> = quick
            .flat_map(|quick| [Some(quick.ratio), quick.absolute])
            .flatten()
            .collect();
        let rest = [
            &self.without_agent,
            &self.write,
            &self.write_without_agent,
            &self.question,
            &self.question_time,
        ];
        figures.extend(rest.map(Figure::clone));
        figures
    }
}

impl Drop for Daily {
    fn drop(&mut self) {
        let _ = self.agent.kill();
        let _ = self.agent.wait();
        peers::end(&self.home);
    }
}

/// An agent in the foreground, so that it ends with the harness.
fn start_agent(home: &Home) -> anyhow::Result<Child> {
    let mut command = home.command("agent", &["agent", "run"])?;
    let log = fs::File::create(home.path().join("agent.log"))?;
    let agent = command.stdout(Stdio::null()).stderr(log).spawn()?;
    let socket = home.path().join("agent/passmate");
    let deadline = Instant::now() + Duration::from_secs(10);
    while !fs::read_dir(&socket).is_ok_and(|mut files| files.next().is_some()) {
        if Instant::now() > deadline {
            bail!("the agent did not start");
        }
        sleep(Duration::from_millis(10));
    }
    Ok(agent)
}

fn derivation() -> anyhow::Result<Duration> {
    let begun = Instant::now();
    bare_scrypt()?;
    Ok(begun.elapsed())
}

/// Medians of both, in milliseconds; they take turns.
fn beside(
    runs: usize,
    mut ours: impl FnMut() -> anyhow::Result<Duration>,
    mut baseline: impl FnMut() -> anyhow::Result<Duration>,
) -> anyhow::Result<(f64, f64)> {
    let mut pairs = (Vec::new(), Vec::new());
    for _ in 0..runs {
        pairs.0.push(ours()?.as_secs_f64() * 1e3);
        pairs.1.push(baseline()?.as_secs_f64() * 1e3);
    }
    let middle = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        median(&values).context("nothing ran")
    };
    Ok((middle(pairs.0)?, middle(pairs.1)?))
}
