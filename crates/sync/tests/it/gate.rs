//! Whoever holds the sync key may write any vault. What it does to others passes the gate first.

use passmate_vault::record::TIME_MAX;

use super::*;

/// A device that holds the key, and writes what it likes.
pub(super) struct Thief {
    key: SyncKey,
    cloud: Rc<RefCell<Cloud>>,
}

impl Thief {
    pub(super) fn with_key_of(device: &Device, cloud: &Rc<RefCell<Cloud>>) -> Self {
        Self {
            key: device.key(),
            cloud: cloud.clone(),
        }
    }

    /// Replaces the btoken by whatever is made of its vault. The roll call stays, so that no device
    /// has another reason to store a btoken.
    pub(super) fn write(&self, meddle: impl FnOnce(&mut Vault)) {
        let mut cloud = self.cloud.borrow_mut();
        let account = account_of(&self.key).unwrap();
        let Some((_, btoken)) = cloud.accounts.get_mut(&account) else {
            return;
        };
        let Ok(plaintext) = format::btoken::open(btoken, &self.key) else {
            return;
        };
        let found = format::decode_btoken(&plaintext).unwrap();
        let mut vault = found.vault;
        meddle(&mut vault);
        let plaintext = format::encode_btoken_with(&vault, &found.devices).unwrap();
        *btoken = format::btoken::seal(&plaintext, &self.key, &mut Dice(7));
    }

    pub(super) fn delete_all(&self, time: i64) {
        self.write(|vault| {
            let ids: Vec<_> = vault.records().map(|(id, _)| id.clone()).collect();
            for id in &ids {
                let stamp = Stamp::from_seconds(time);
                let (key, value) = (FieldKey::path(), Value::Absent);
                vault.insert(id, Change { key, stamp, value });
            }
        });
    }

    fn cut_to_nothing(&self) {
        let account = account_of(&self.key).unwrap();
        if let Some((_, btoken)) = self.cloud.borrow_mut().accounts.get_mut(&account) {
            btoken.clear();
        }
    }

    fn garbage(&self) {
        let account = account_of(&self.key).unwrap();
        if let Some((_, btoken)) = self.cloud.borrow_mut().accounts.get_mut(&account) {
            *btoken = vec![7; 4144];
        }
    }
}

/// Two devices with 50 records, at the present.
pub(super) fn fifty_records() -> (Rc<RefCell<Cloud>>, Device, Device) {
    let cloud = Cloud::new(Layout::One);
    let (mut first, mut second) = two_devices(&cloud);
    first.now = PRESENT_MIN + 1_000_000;
    for number in 1..50 {
        first.set(&format!("record {number:02}"), "password", "mine");
    }
    second.now = first.now;
    sync(&mut first, &cloud).unwrap();
    sync(&mut second, &cloud).unwrap();
    (cloud, first, second)
}

/// Two devices with 50 records, of which each has a value from before the history begins and one
/// after it. Returns when it begins too.
pub(super) fn fifty_truncated_records() -> (Rc<RefCell<Cloud>>, Device, Device, i64) {
    let (cloud, mut first, mut second) = fifty_records();
    for number in 1..50 {
        first.set(&format!("record {number:02}"), "password", "second value");
    }
    let since = first.now + 1;
    first.now = since + 10;
    first.rotate(&mut Way::to(&cloud), Some(since)).unwrap();
    leave(&mut second).unwrap();
    second.now = first.now;
    let mut way = Way::to(&cloud);
    second.join_with(&mut way, first.key(), &agreed()).unwrap();
    for number in 1..50 {
        second.set(&format!("record {number:02}"), "password", "third value");
    }
    second.now += 100;
    sync(&mut second, &cloud).unwrap();
    (cloud, first, second, since)
}

pub(super) fn sync(device: &mut Device, cloud: &Rc<RefCell<Cloud>>) -> Result<Report, SyncError> {
    device.sync(&mut Way::to(cloud))
}

pub(super) fn seen(vault: &Vault) -> Vec<(String, String)> {
    let view = vault.view();
    let all = view.records().iter().flat_map(|record| {
        let path = record.path.to_string_lossy().into_owned();
        let fields = record.fields();
        fields.map(move |field| (path.clone(), field.value.to_string_lossy().into_owned()))
    });
    all.collect()
}

#[test]
fn a_thief_who_deletes_everything_is_met_at_every_way_in() {
    for time in [PRESENT_MIN + 2_000_000, TIME_MAX] {
        let (cloud, first, mut second) = fifty_records();
        let thief = Thief::with_key_of(&first, &cloud);
        let before = seen(&first.vault);
        thief.delete_all(time);
        // A sync, a preview, an upgrade and a rotation.
        let deleted = |held: &HeldBack| held.count(|effect| *effect == Effect::Deleted);
        assert_eq!(deleted(&held_back(sync(&mut second, &cloud))), 50);
        let preview = second.preview(&mut Way::to(&cloud)).unwrap();
        assert_eq!(deleted(&preview.held.unwrap()), 50);
        held_back(second.clone().upgrade(&mut Way::to(&cloud)));
        held_back(second.clone().rotate(&mut Way::to(&cloud), None));
        // A device that has the records and joins.
        let mut joining = second.clone();
        leave(&mut joining).unwrap();
        held_back(joining.join(&mut Way::to(&cloud), first.key()));
        assert_eq!(joining.account, None, "nothing was joined");
        for device in [&second, &joining] {
            assert_eq!(seen(&device.vault), before);
            assert_eq!(seen(&device.file.0), before);
        }
        // After a loss the account is not even read.
        let mut lost = first.clone();
        let options = Options::default();
        let rotated = lost.rotate_with(&mut Way::to(&cloud), Reason::Loss, None, &options);
        assert_eq!(rotated.unwrap().received, 0);
        assert_eq!(seen(&lost.remote(&cloud)), before);
        assert_eq!(cloud.borrow().accounts.len(), 1);
    }
}

#[test]
fn a_mass_deletion_in_small_steps_is_held_back_too() {
    let (cloud, first, mut second) = fifty_records();
    let thief = Thief::with_key_of(&first, &cloud);
    let mut deleted = 0;
    let mut held = None;
    for step in 0..6 {
        thief.write(|vault| {
            for number in step * 9..step * 9 + 9 {
                let id = RecordId::from(format!("record {number:02}").as_str());
                if vault.record(&id).is_some() {
                    vault.delete(&id, second.now).unwrap();
                }
            }
        });
        second.now += 3600;
        match sync(&mut second, &cloud) {
            Ok(_) => deleted = 50 - second.vault.view().records().len(),
            result => held = Some(held_back(result)),
        }
    }
    assert!(deleted < 10, "{deleted} records were deleted unasked");
    assert_eq!(held.unwrap().earlier, deleted);
}

#[test]
fn new_records_that_take_over_fifty_paths_are_held_back() {
    let (cloud, mut first, mut second) = fifty_records();
    let thief = Thief::with_key_of(&first, &cloud);
    thief.write(|vault| {
        let paths: Vec<_> = vault
            .view()
            .records()
            .iter()
            .map(|record| record.path.clone().into_owned())
            .collect();
        for (number, path) in paths.into_iter().enumerate() {
            // These sort before all other ids.
            let id = RecordId::from(format!("!{number}").as_str());
            vault.create_record(id.clone(), path, second.now).unwrap();
            vault.set(&id, "password", "evil", second.now).unwrap();
        }
    });
    let before = seen(&second.vault);
    let held = held_back(sync(&mut second, &cloud));
    assert_eq!(
        held.count(|effect| matches!(effect, Effect::Displaced { .. })),
        50
    );
    assert_eq!(seen(&second.vault), before);
    let refused = deciding(Decision::Refuse(held.into()));
    second.sync_with(&mut Way::to(&cloud), &refused).unwrap();
    sync(&mut first, &cloud).unwrap();
    assert_eq!(
        (seen(&first.vault), seen(&second.vault)),
        (before.clone(), before)
    );
}

#[test]
fn a_history_that_somebody_else_truncates_is_held_back() {
    let (cloud, mut first, mut second) = fifty_records();
    first.set("mail", "password", "second");
    first.set("mail", "password", "third");
    sync(&mut first, &cloud).unwrap();
    sync(&mut second, &cloud).unwrap();
    let thief = Thief::with_key_of(&first, &cloud);
    let since = first.now;
    second.now = since;
    thief.write(|vault| *vault = vault.clone().with_history_since(since));
    let before = second.clone();
    let held = held_back(sync(&mut second, &cloud));
    assert_eq!((held.cut, held.records.len()), (Some(since), 0));
    assert_eq!(second.vault, before.vault);
    // Refused, it is gone from the server.
    let mut refusing = second.clone();
    let refused = deciding(Decision::Refuse(held.clone().into()));
    refusing.sync_with(&mut Way::to(&cloud), &refused).unwrap();
    assert_eq!(refusing.vault, before.vault);
    assert_eq!(refusing.remote(&cloud), before.vault);
    // Agreed to, it truncates.
    thief.write(|vault| *vault = vault.clone().with_history_since(since));
    let agreed = deciding(Decision::Agree(held.into()));
    second.sync_with(&mut Way::to(&cloud), &agreed).unwrap();
    assert_eq!(second.vault.history_since(), Some(since));
}

#[test]
fn a_history_truncated_in_the_future_is_ignored_and_repaired() {
    let (cloud, mut first, mut second) = fifty_records();
    let thief = Thief::with_key_of(&first, &cloud);
    let before = second.vault.clone();
    let since = first.now + 2 * AHEAD_SECONDS;
    thief.write(|vault| *vault = vault.clone().with_history_since(since));
    let report = sync(&mut second, &cloud).unwrap();
    assert_eq!(report.ignored_cut, Some(since));
    assert_eq!(second.vault, before);
    assert_eq!(
        second.remote(&cloud),
        before,
        "and the server has it no more"
    );
    // A vault that got it earlier is repaired, and syncs.
    first.vault = first.vault.clone().with_history_since(since);
    first.set("mail", "password", "later");
    sync(&mut first, &cloud).unwrap();
    assert_eq!(first.vault.history_since(), None);
    sync(&mut second, &cloud).unwrap();
    assert_eq!(first.vault, second.vault);
}

#[test]
fn a_change_from_the_future_is_held_back() {
    let (cloud, mut first, mut second) = fifty_records();
    first.now = second.now + AHEAD_SECONDS;
    first.set("mail", "user", "me");
    sync(&mut first, &cloud).unwrap();
    let held = held_back(sync(&mut second, &cloud));
    let ahead = Effect::Ahead {
        field: FieldKey::user("user"),
        time: first.now,
    };
    assert_eq!(held.records.first().unwrap().effect, ahead);
    assert_eq!(held.records.len(), 1);
    // A person who knows that the other clock is right agrees.
    let mut agreeing = second.clone();
    let agreed = deciding(Decision::Agree(held.clone().into()));
    let report = agreeing.sync_with(&mut Way::to(&cloud), &agreed).unwrap();
    assert_eq!(report.ahead.len(), 1);
    // A second later it is not in the future any more.
    second.now += 1;
    assert_eq!(sync(&mut second, &cloud).unwrap().ahead, []);
}

#[test]
fn an_old_account_full_of_tricks_never_blocks_a_rotation() {
    for round in 0..40 {
        let (cloud, mut first, _) = fifty_records();
        let thief = Thief::with_key_of(&first, &cloud);
        let before = seen(&first.vault);
        let trick = |round: usize| match round % 4 {
            0 => thief.garbage(),
            1 => thief.write(|vault| {
                *vault = vault.clone().with_history_since(TIME_MAX);
            }),
            2 => thief.write(|vault| *vault = Vault::new()),
            _ => {
                cloud
                    .borrow_mut()
                    .accounts
                    .remove(&account_of(&thief.key).unwrap());
            }
        };
        trick(round);
        // Interrupted after some exchanges, while the thief goes on.
        let calm = std::iter::repeat_n(Fault::Nothing, round / 4);
        let faults = calm.chain(std::iter::repeat_n(Fault::Unreachable, 30));
        let reason = if round % 2 == 0 {
            Reason::Renewal
        } else {
            Reason::Loss
        };
        let options = Options::default();
        let mut way = Way::with(&cloud, faults);
        let _ = first.rotate_with(&mut way, reason, None, &options);
        if first.key() == thief.key {
            trick(round + 1);
            first
                .rotate_with(&mut Way::to(&cloud), reason, None, &options)
                .unwrap();
        } else {
            // From here on a sync completes it.
            let report = sync(&mut first, &cloud).unwrap();
            assert_eq!(report.unfinished, None);
        }
        assert_eq!(first.account.as_ref().unwrap().retired, [], "round {round}");
        assert_eq!(cloud.borrow().accounts.len(), 1, "round {round}");
        assert_ne!(first.key(), thief.key);
        assert_eq!(seen(&first.vault), before);
        assert_eq!(first.remote(&cloud), first.vault, "round {round}");
    }
}

/// A way on which a thief writes something else before each exchange.
struct Watched<'a> {
    way: Way,
    meddle: &'a dyn Fn(usize),
    exchanges: usize,
}

impl Transport for Watched<'_> {
    fn connect(&mut self) -> Result<exchange::Connection, ConnectError> {
        (self.meddle)(self.exchanges);
        self.exchanges += 1;
        self.way.connect()
    }
}

/// Rotates while a thief writes something else before each exchange.
pub(super) fn rotate_watched(
    device: &mut Device,
    cloud: &Rc<RefCell<Cloud>>,
    reason: Reason,
    meddle: &dyn Fn(usize),
) -> Result<Report, SyncError> {
    let mut client = SyncClient {
        replica: device,
        transport: &mut Watched {
            way: Way::to(cloud),
            meddle,
            exchanges: 0,
        },
        env: &mut Calm::new(),
    };
    client.rotate(reason, None, &Options::default())
}

#[test]
fn a_thief_who_writes_before_each_exchange_does_not_block_a_rotation() {
    for round in 0..12 {
        for reason in [Reason::Renewal, Reason::Loss] {
            let (cloud, mut first, _) = fifty_records();
            let thief = Thief::with_key_of(&first, &cloud);
            let before = seen(&first.vault);
            let meddle = |exchange: usize| match (round + exchange) % 3 {
                0 => thief.garbage(),
                1 => thief.write(|vault| {
                    *vault = Vault::new().with_history_since(TIME_MAX);
                }),
                _ => thief.cut_to_nothing(),
            };
            let report = rotate_watched(&mut first, &cloud, reason, &meddle).unwrap();
            assert_eq!(report.unfinished, None);
            assert_eq!(seen(&first.vault), before, "{round} {reason:?}");
            assert_eq!(first.remote(&cloud), first.vault);
            assert_eq!(cloud.borrow().accounts.len(), 1);
        }
    }
}

#[test]
fn leaving_after_an_interrupted_rotation_deletes_both_accounts() {
    let (cloud, mut first, _) = fifty_records();
    // The new account is made, and nothing else is possible.
    let faults = [Fault::Nothing, Fault::Nothing]
        .into_iter()
        .chain(std::iter::repeat_n(Fault::Unreachable, 30));
    first
        .rotate(&mut Way::with(&cloud, faults), None)
        .unwrap_err();
    assert!(first.account.as_ref().unwrap().retired.len() == 1);
    assert_eq!(cloud.borrow().accounts.len(), 2);
    first.delete(&mut Way::to(&cloud)).unwrap();
    assert_eq!((cloud.borrow().accounts.len(), first.account), (0, None));
}

#[test]
fn a_year_of_small_edits_by_three_devices_never_asks() {
    let (cloud, first, second) = fifty_records();
    let mut devices = [first.clone(), second, first];
    let mut dice = Dice(3);
    let mut roll = |below: u64| Rng::next_u64(&mut dice) % below;
    for day in 0..365 {
        for device in &mut devices {
            device.now = PRESENT_MIN + 2_000_000 + day * 24 * 3600;
        }
        if roll(2) == 0 {
            let device = &mut devices[usize::try_from(roll(3)).unwrap()];
            let record = format!("record {:02}", 1 + roll(49));
            match roll(10) {
                0 => device.set(&format!("new {day}"), "password", "x"),
                _ => device.set(&record, "password", &day.to_string()),
            }
        }
        for device in &mut devices {
            sync(device, &cloud).unwrap_or_else(|error| panic!("day {day}: {error}"));
        }
    }
}

#[test]
fn five_hundred_new_records_ask_nowhere() {
    let (cloud, mut first, mut second) = fifty_records();
    for number in 0..500 {
        first.set(&format!("import/{number}"), "password", "x");
    }
    sync(&mut first, &cloud).unwrap();
    sync(&mut second, &cloud).unwrap();
    let mut third = Device {
        now: first.now,
        ..Device::default()
    };
    third.join(&mut Way::to(&cloud), first.key()).unwrap();
    assert_eq!(third.vault, first.vault);
}

#[test]
fn a_loss_always_makes_a_new_key_and_reads_nothing() {
    for interrupted_after in 2..6 {
        let (cloud, mut first, mut second) = fifty_records();
        // A rotation is interrupted; the other device joins the new account, and is stolen.
        let calm = std::iter::repeat_n(Fault::Nothing, interrupted_after);
        let faults = calm.chain(std::iter::repeat_n(Fault::Unreachable, 40));
        let _ = first.rotate(&mut Way::with(&cloud, faults), None);
        leave(&mut second).unwrap();
        let stolen = first.key();
        let joined = second.join_with(&mut Way::to(&cloud), stolen.clone(), &agreed());
        let before = seen(&first.vault);
        if joined.is_ok() {
            let thief = Thief::with_key_of(&second, &cloud);
            thief.write(|vault| {
                for number in 1..9 {
                    let id = RecordId::from(format!("record {number:02}").as_str());
                    if vault.record(&id).is_some() {
                        vault.set(&id, "password", "evil", second.now + 50).unwrap();
                    }
                }
            });
        }
        let options = Options::default();
        let lost = first.rotate_with(&mut Way::to(&cloud), Reason::Loss, None, &options);
        lost.unwrap();
        assert_eq!(seen(&first.vault), before);
        assert_ne!(first.key(), stolen, "{interrupted_after}");
        assert_eq!(cloud.borrow().accounts.len(), 1);
    }
}

#[test]
fn after_a_loss_was_declared_nothing_is_read_whatever_fails() {
    let (cloud, mut first, _) = fifty_records();
    let thief = Thief::with_key_of(&first, &cloud);
    thief.write(|vault| {
        let set = vault.set(&"mail".into(), "password", "evil", first.now);
        set.unwrap();
    });
    let before = seen(&first.vault);
    // The server cannot even be reached.
    let mut way = Way::with(&cloud, std::iter::repeat_n(Fault::Unreachable, 40));
    let options = Options::default();
    first
        .rotate_with(&mut way, Reason::Loss, None, &options)
        .unwrap_err();
    assert_eq!(
        first.preview(&mut Way::to(&cloud)).unwrap().report.received,
        0
    );
    // The next sync goes on, and every later one is an ordinary sync.
    for _ in 0..2 {
        sync(&mut first, &cloud).unwrap();
        assert_eq!(seen(&first.vault), before);
        assert_ne!(first.key(), thief.key);
        assert_eq!(cloud.borrow().accounts.len(), 1);
    }
}

#[test]
fn an_edit_of_a_record_that_another_device_purged_is_kept() {
    let (cloud, mut first, mut second) = fifty_records();
    first
        .vault
        .purge(&"record 07".into(), |_| true, first.now)
        .unwrap();
    sync(&mut first, &cloud).unwrap();
    second.now += 10;
    second.set("record 07", "password", "new");
    for device in [&mut second, &mut first] {
        sync(device, &cloud).unwrap();
        let record = ("record 07".to_owned(), "new".to_owned());
        assert!(seen(&device.vault).contains(&record));
    }
    assert_eq!(first.vault, second.vault);
}
