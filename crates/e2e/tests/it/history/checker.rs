//! Decides whether what clients saw can be what a correct server did. It knows nothing of servers:
//! it hears when an exchange begins and what came of it. The rules that it holds them to are:
//!
//!  - **No loss.** A fetch that begins after a confirmation sees what was confirmed, and an account
//!    that was confirmed is there until somebody asks to delete it.
//!  - **No fork.** All btokens of an account that anybody sees are one line: of any two, one
//!    continues the other.
//!  - **No revival.** After a confirmed deletion nobody sees the account again.
//!  - **No phantom.** Nothing is stored that a client was told has failed, or that nobody sent.
//!  - **A restore is a step back to one moment.** It brings everything that was confirmed before
//!    its backup began, nothing that was sent after the backup ended, and from there on the rules
//!    hold as before.
//!
//! Each btoken is a list of [`Op`]s, and each update appends one. So a list shows which updates
//! took place, and in which order.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

/// One update or the create that began an account. No two are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Op(pub(crate) u64);

/// A moment of the run: each is after all that were given out before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

/// How a rule was broken, and how that shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) fault: Fault,
    pub(crate) detail: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Loss,
    Fork,
    Revival,
    Phantom,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.fault, self.detail)
    }
}

impl Fault {
    fn found<T>(self, detail: impl Into<String>) -> Result<T, Violation> {
        Err(Violation {
            fault: self,
            detail: detail.into(),
        })
    }
}

/// The state of an update, as its client knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It was sent, and may be stored.
    Possible,
    /// The client was told that it is not stored.
    Failed,
}

/// Whether an account may be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Live,
    /// Somebody asked to delete it, and the outcome is not known.
    Doubtful,
    /// It has been gone since this moment.
    Gone(Moment),
}

/// What is known of one account since the last restore.
#[derive(Debug, Clone)]
struct History {
    /// The longest list that anybody saw. Before the first look after a restore: the longest that
    /// the backup can contain.
    line: Vec<Op>,
    /// Whether somebody has seen the account since the last restore.
    is_seen: bool,
    /// A fetch that begins after the moment sees at least so many ops.
    floors: Vec<(Moment, usize)>,
    fates: HashMap<Op, Fate>,
    life: Life,
}

impl History {
    /// The fewest ops that a fetch may see.
    fn floor(&self, begun: Moment) -> usize {
        let before = self.floors.iter().filter(|(at, _)| *at < begun);
        before.map(|(_, len)| *len).max().unwrap_or(0)
    }

    /// Takes in a list that somebody saw, or knows to be stored.
    fn extend(&mut self, seen: &[Op], floor: usize) -> Result<(), Violation> {
        let mut once = HashSet::new();
        for op in seen {
            match self.fates.get(op) {
                Some(Fate::Possible) if once.insert(op) => {}
                Some(Fate::Possible) => {
                    return Fault::Phantom.found(format!("{op:?} took place twice"));
                }
                Some(Fate::Failed) => {
                    return Fault::Phantom.found(format!("{op:?} failed and is stored"));
                }
                None => {
                    return Fault::Phantom.found(format!("{op:?} cannot be in this account"));
                }
            }
        }
        let common = self.line.iter().zip(seen).take_while(|(a, b)| a == b);
        let common = common.count();
        if common < floor {
            return Fault::Loss.found(format!(
                "{floor} confirmed ops must be there; the list has {common} of them"
            ));
        }
        if !self.is_seen {
            // The backup had the common part, or less of the line than it could have had. What it
            // had not is lost for good and must not come later.
            if let Some(op) = self.line[common..].iter().find(|op| once.contains(op)) {
                return Fault::Fork.found(format!("{op:?} moved within the list"));
            }
            self.is_seen = true;
            self.line = seen.to_vec();
        } else if common < self.line.len().min(seen.len()) {
            return Fault::Fork.found(format!("two lists part after {common} ops"));
        } else if seen.len() > self.line.len() {
            self.line = seen.to_vec();
        }
        Ok(())
    }
}

/// What a backup can contain, if the server is correct.
#[derive(Debug, Clone)]
pub(crate) struct Backup<A> {
    accounts: BTreeMap<A, History>,
}

/// A backup that is being made.
#[derive(Debug)]
pub(crate) struct BackupBegun<A> {
    at_least: BTreeMap<A, (usize, Life)>,
}

/// Hears of all exchanges with accounts that are named by `A`.
#[derive(Debug)]
pub(crate) struct Checker<A> {
    now: u64,
    accounts: BTreeMap<A, History>,
    confirmed: u64,
}

impl<A: Copy + Ord + fmt::Debug> Checker<A> {
    pub(crate) fn new() -> Self {
        Self {
            now: 0,
            accounts: BTreeMap::new(),
            confirmed: 0,
        }
    }

    /// A new moment, such as the one at which an exchange begins.
    pub(crate) fn moment(&mut self) -> Moment {
        self.now += 1;
        Moment(self.now)
    }

    /// Confirmations so far.
    pub(crate) fn confirmed_count(&self) -> u64 {
        self.confirmed
    }

    fn of(&mut self, account: A) -> &mut History {
        self.accounts
            .get_mut(&account)
            .expect("clients use accounts that were created")
    }

    /// An account was created with this op, and that was confirmed.
    pub(crate) fn created(&mut self, account: A, first: Op) -> Result<(), Violation> {
        let now = self.moment();
        self.confirmed += 1;
        let new = History {
            line: vec![first],
            is_seen: true,
            floors: vec![(now, 1)],
            fates: HashMap::from([(first, Fate::Possible)]),
            life: Life::Live,
        };
        match self.accounts.insert(account, new) {
            None => Ok(()),
            Some(_) => Fault::Fork.found(format!("{account:?} was given out twice")),
        }
    }

    /// A fetch or an update that began at `begun` saw this list.
    pub(crate) fn seen(&mut self, account: A, begun: Moment, seen: &[Op]) -> Result<(), Violation> {
        let history = self.of(account);
        if let Life::Gone(at) = history.life
            && at < begun
        {
            return Fault::Revival.found(format!("{account:?} was deleted and is back"));
        }
        let floor = history.floor(begun);
        history.extend(seen, floor)
    }

    /// A client sends an update that appends this op.
    pub(crate) fn sends(&mut self, account: A, op: Op) {
        self.of(account).fates.insert(op, Fate::Possible);
    }

    /// The update was confirmed: it appended `op` to `base`, which it had fetched after `begun`.
    pub(crate) fn confirmed(
        &mut self,
        account: A,
        begun: Moment,
        base: &[Op],
        op: Op,
    ) -> Result<(), Violation> {
        let now = self.moment();
        self.confirmed += 1;
        let history = self.of(account);
        if let Life::Gone(at) = history.life
            && at < begun
        {
            return Fault::Revival.found(format!("{account:?} was deleted and was updated"));
        }
        let stored = [base, &[op]].concat();
        history.extend(&stored, 0)?;
        history.floors.push((now, stored.len()));
        Ok(())
    }

    /// The client was told that its update is not stored.
    pub(crate) fn failed(&mut self, account: A, op: Op) -> Result<(), Violation> {
        let history = self.of(account);
        history.fates.insert(op, Fate::Failed);
        if history.line.contains(&op) {
            return Fault::Phantom.found(format!("{op:?} failed and is stored"));
        }
        Ok(())
    }

    /// A client asks to delete the account. The account may be gone from now on.
    pub(crate) fn deletes(&mut self, account: A) {
        let history = self.of(account);
        if history.life == Life::Live {
            history.life = Life::Doubtful;
        }
    }

    /// The deletion was confirmed.
    pub(crate) fn deleted(&mut self, account: A) {
        let now = self.moment();
        self.confirmed += 1;
        self.of(account).life = Life::Gone(now);
    }

    /// A look while nobody else did anything, and no network in between, did not find the account.
    pub(crate) fn missing(&mut self, account: A) -> Result<(), Violation> {
        let now = self.moment();
        let history = self.of(account);
        match history.life {
            Life::Live => Fault::Loss.found(format!("{account:?} is not there any more")),
            Life::Doubtful => {
                history.life = Life::Gone(now);
                Ok(())
            }
            Life::Gone(_) => Ok(()),
        }
    }

    pub(crate) fn backup_begins(&mut self) -> BackupBegun<A> {
        let now = self.moment();
        let at_least = self.accounts.iter().map(|(account, history)| {
            let least = (history.floor(now), history.life);
            (*account, least)
        });
        BackupBegun {
            at_least: at_least.collect(),
        }
    }

    pub(crate) fn backup_ends(&mut self, begun: BackupBegun<A>) -> Backup<A> {
        let mut accounts = self.accounts.clone();
        for (account, history) in &mut accounts {
            let (floor, life) = begun
                .at_least
                .get(account)
                .copied()
                .unwrap_or((0, Life::Doubtful));
            history.floors = vec![(Moment(0), floor)];
            history.is_seen = false;
            history.life = match (life, history.life) {
                (Life::Gone(at), _) => Life::Gone(at),
                (Life::Live, Life::Live) => Life::Live,
                _ => Life::Doubtful,
            };
        }
        Backup { accounts }
    }

    /// The server runs on this backup from now on. No exchange is under way.
    pub(crate) fn restored(&mut self, backup: &Backup<A>) {
        let now = self.moment();
        for (account, history) in &mut self.accounts {
            let Some(saved) = backup.accounts.get(account) else {
                history.life = Life::Gone(now);
                continue;
            };
            let failed = history
                .fates
                .iter()
                .filter(|(_, fate)| **fate == Fate::Failed);
            let failed: Vec<Op> = failed.map(|(op, _)| *op).collect();
            history.clone_from(saved);
            for op in failed {
                if let Some(fate) = history.fates.get_mut(&op) {
                    *fate = Fate::Failed;
                }
            }
            if let Life::Gone(_) = history.life {
                history.life = Life::Gone(now);
            }
        }
    }

    /// Forgets an account that is gone.
    pub(crate) fn forget(&mut self, account: A) {
        self.accounts.remove(&account);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Verdict = Result<(), Violation>;

    /// A checker of account 1, which was created with op 0.
    fn checker() -> Checker<u8> {
        let mut checker = Checker::new();
        checker.created(1, Op(0)).unwrap();
        checker
    }

    fn ops(numbers: &[u64]) -> Vec<Op> {
        numbers.iter().map(|number| Op(*number)).collect()
    }

    /// A fetch that is over before anything else begins.
    fn fetch(checker: &mut Checker<u8>, list: &[u64]) -> Verdict {
        let begun = checker.moment();
        checker.seen(1, begun, &ops(list))
    }

    /// A confirmed update of account 1 that appends to `base`.
    fn append(checker: &mut Checker<u8>, base: &[u64], op: u64) -> Verdict {
        let begun = checker.moment();
        checker.seen(1, begun, &ops(base))?;
        checker.sends(1, Op(op));
        checker.confirmed(1, begun, &ops(base), Op(op))
    }

    #[track_caller]
    fn broken(verdict: Verdict, fault: Fault) {
        assert_eq!(verdict.map_err(|violation| violation.fault), Err(fault));
    }

    #[test]
    fn updates_in_a_row_are_correct() {
        let mut checker = checker();
        append(&mut checker, &[0], 1).unwrap();
        append(&mut checker, &[0, 1], 2).unwrap();
        fetch(&mut checker, &[0, 1, 2]).unwrap();
    }

    #[test]
    fn an_old_list_is_correct_for_a_fetch_that_began_before() {
        let mut checker = checker();
        let begun = checker.moment();
        append(&mut checker, &[0], 1).unwrap();
        checker.seen(1, begun, &ops(&[0])).unwrap();
    }

    #[test]
    fn a_confirmed_op_that_is_missing_is_a_loss() {
        let mut checker = checker();
        append(&mut checker, &[0], 1).unwrap();
        broken(fetch(&mut checker, &[0]), Fault::Loss);
    }

    #[test]
    fn a_live_account_that_is_missing_is_a_loss() {
        broken(checker().missing(1), Fault::Loss);
    }

    #[test]
    fn two_updates_of_the_same_list_are_a_fork() {
        let mut checker = checker();
        let begun = checker.moment();
        checker.sends(1, Op(1));
        checker.sends(1, Op(2));
        checker.confirmed(1, begun, &ops(&[0]), Op(1)).unwrap();
        broken(checker.confirmed(1, begun, &ops(&[0]), Op(2)), Fault::Fork);
    }

    #[test]
    fn an_unknown_op_may_be_there_or_not() {
        let mut checker = checker();
        checker.sends(1, Op(1));
        fetch(&mut checker, &[0]).unwrap();
        fetch(&mut checker, &[0, 1]).unwrap();
    }

    #[test]
    fn a_failed_op_that_is_stored_is_a_phantom() {
        let mut checker = checker();
        checker.sends(1, Op(1));
        checker.failed(1, Op(1)).unwrap();
        broken(fetch(&mut checker, &[0, 1]), Fault::Phantom);
        checker.sends(1, Op(2));
        fetch(&mut checker, &[0, 2]).unwrap();
        broken(checker.failed(1, Op(2)), Fault::Phantom);
    }

    #[test]
    fn an_op_that_nobody_sent_is_a_phantom() {
        broken(fetch(&mut checker(), &[0, 9]), Fault::Phantom);
        broken(fetch(&mut checker(), &[0, 0]), Fault::Phantom);
    }

    #[test]
    fn a_deleted_account_that_is_seen_is_a_revival() {
        let mut checker = checker();
        let begun = checker.moment();
        checker.deletes(1);
        checker.deleted(1);
        checker.missing(1).unwrap();
        checker.seen(1, begun, &ops(&[0])).unwrap();
        broken(fetch(&mut checker, &[0]), Fault::Revival);
        broken(append(&mut checker, &[0], 1), Fault::Revival);
    }

    #[test]
    fn a_doubtful_account_is_gone_once_it_was_missing() {
        let mut checker = checker();
        checker.deletes(1);
        fetch(&mut checker, &[0]).unwrap();
        checker.missing(1).unwrap();
        broken(fetch(&mut checker, &[0]), Fault::Revival);
    }

    /// A checker after a backup of `[0, 1]` that op 2 overlaps, and op 3 follows.
    fn restored() -> Checker<u8> {
        let mut checker = checker();
        append(&mut checker, &[0], 1).unwrap();
        let begun = checker.backup_begins();
        append(&mut checker, &[0, 1], 2).unwrap();
        let backup = checker.backup_ends(begun);
        append(&mut checker, &[0, 1, 2], 3).unwrap();
        checker.restored(&backup);
        checker
    }

    #[test]
    fn a_restore_brings_what_was_confirmed_before_its_backup() {
        broken(fetch(&mut restored(), &[0]), Fault::Loss);
        fetch(&mut restored(), &[0, 1]).unwrap();
        fetch(&mut restored(), &[0, 1, 2]).unwrap();
    }

    #[test]
    fn a_restore_brings_nothing_that_is_newer_than_its_backup() {
        broken(fetch(&mut restored(), &[0, 1, 2, 3]), Fault::Phantom);
    }

    #[test]
    fn after_a_restore_the_rules_hold_as_before() {
        let mut checker = restored();
        append(&mut checker, &[0, 1], 4).unwrap();
        broken(fetch(&mut checker, &[0, 1, 2]), Fault::Loss);
        broken(
            fetch(&mut checker, &[0, 1, 4, 2]).and(fetch(&mut checker, &[0, 1])),
            Fault::Loss,
        );
    }

    #[test]
    fn an_account_is_not_in_an_earlier_backup() {
        let mut checker = checker();
        let begun = checker.backup_begins();
        let backup = checker.backup_ends(begun);
        checker.created(2, Op(5)).unwrap();
        checker.restored(&backup);
        checker.missing(2).unwrap();
        let begun = checker.moment();
        broken(checker.seen(2, begun, &ops(&[5])), Fault::Revival);
    }

    #[test]
    fn a_restore_brings_an_account_back_that_was_deleted_later() {
        let mut checker = checker();
        let begun = checker.backup_begins();
        let backup = checker.backup_ends(begun);
        checker.deletes(1);
        checker.deleted(1);
        checker.restored(&backup);
        broken(checker.missing(1), Fault::Loss);
        fetch(&mut checker, &[0]).unwrap();
    }
}
