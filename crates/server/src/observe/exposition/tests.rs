use std::collections::BTreeSet;
use std::time::Duration;

use super::super::metrics::{Finished, Metrics, Sample};
use super::*;
use crate::ended::Ended;
use crate::files::Disk;
use crate::limits::TurnedAway;

fn full() -> String {
    let metrics = Metrics::new();
    for (action, ended, millis) in [
        ("update", Ended::Confirmed, 3),
        ("create", Ended::Confirmed, 70),
        ("none", Ended::ClientGone, 1),
    ] {
        let duration = Duration::from_millis(millis);
        metrics.note(&Finished {
            action,
            ended,
            bytes_in: 1,
            bytes_out: 2,
            duration,
            is_tls: true,
        });
    }
    metrics.note_turned_away(TurnedAway::SourcePaused);
    metrics.note_sample(Sample {
        last_backup: Some(5),
        disk: Some(Disk::default()),
        ..Sample::default()
    });
    write(
        &metrics.snapshot(),
        &Gauges {
            certificate_not_after: Some(9),
            key_changed_at: Some(8),
            ..Gauges::default()
        },
    )
}

#[test]
fn every_line_is_in_the_format() {
    let page = full();
    let mut kinds = BTreeSet::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert!(
                kinds.insert(rest.split(' ').next().unwrap().to_owned()),
                "twice: {line}"
            );
        } else if !line.starts_with("# HELP ") {
            let (name, value) = line.rsplit_once(' ').unwrap();
            value.parse::<f64>().unwrap();
            let base = name.split('{').next().unwrap();
            let stem = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| base.strip_suffix(end))
                .unwrap_or(base);
            assert!(
                kinds.contains(base) || kinds.contains(stem),
                "no kind: {line}"
            );
            assert!(base.starts_with("passmate_"), "{line}");
        }
    }
    assert!(page.contains("passmate_exchange_seconds_bucket{action=\"update\",le=\"0.005\"} 1\n"));
    assert!(page.contains("passmate_exchange_seconds_bucket{action=\"update\",le=\"0.002\"} 0\n"));
    assert!(page.contains("passmate_exchange_seconds_sum{action=\"create\"} 0.07\n"));
    assert!(page.contains("passmate_exchanges_total{action=\"none\",result=\"client_gone\"} 1\n"));
}

#[test]
fn every_series_is_there_before_it_first_counts() {
    let names = |page: &str| -> BTreeSet<String> {
        let series = page.lines().filter(|line| !line.starts_with('#'));
        series
            .filter_map(|line| line.rsplit_once(' '))
            .map(|(name, _)| name.to_owned())
            .collect()
    };
    let fresh = write(&Metrics::new().snapshot(), &Gauges::default());
    for line in [
        "passmate_exchanges_total{action=\"update\",result=\"storage_error\"} 0\n",
        "passmate_turned_away_total{reason=\"connections_max\"} 0\n",
        "passmate_exchange_seconds_count{action=\"reset\"} 0\n",
    ] {
        assert!(fresh.contains(line), "{line}");
    }
    // Values that are not known yet are gauges.
    let full = full();
    let added: Vec<String> = names(&full).difference(&names(&fresh)).cloned().collect();
    for name in added {
        assert!(full.contains(&format!("# TYPE {name} gauge\n")), "{name}");
    }
}

#[test]
fn manual_alerts_and_dashboard_name_metrics_that_exist() {
    let read = |path: &str| {
        std::fs::read_to_string(format!("{}/../../{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    };
    let page = full();
    let there: BTreeSet<String> = page
        .lines()
        .filter_map(|line| {
            line.strip_prefix("# TYPE ")
                .and_then(|rest| rest.split(' ').next())
                .map(str::to_owned)
        })
        .collect();
    let named = |text: &str| -> BTreeSet<String> {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let names = words
            .filter(|word| word.starts_with("passmate_"))
            .map(|word| {
                let stem = ["_bucket", "_sum", "_count"]
                    .iter()
                    .find_map(|end| word.strip_suffix(end));
                stem.filter(|stem| there.contains(*stem))
                    .unwrap_or(word)
                    .to_owned()
            });
        names.collect()
    };
    assert_eq!(named(&read("docs/operating.md")), there);
    let alerts = named(&read("deploy/prometheus-alerts.yml"));
    let tested = named(&read("deploy/prometheus-alerts.test.yml"));
    let drawn = named(&read("deploy/samples/grafana-dashboard.json"));
    for names in [alerts, tested, drawn] {
        assert!(names.len() > 4 && names.is_subset(&there), "{names:?}");
    }
}

#[test]
fn the_dashboard_is_json_with_a_query_in_each_panel() {
    let path = "../../deploy/samples/grafana-dashboard.json";
    let text = std::fs::read(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let dashboard: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() > 8);
    for panel in panels {
        let targets = panel["targets"].as_array().unwrap();
        let queries = targets.iter().filter_map(|target| target["expr"].as_str());
        assert!(queries.count() > 0, "{}", panel["title"]);
    }
}
