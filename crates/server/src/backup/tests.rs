use super::*;
use crate::store::Sqlite;

fn made(dir: &tempfile::TempDir, pair: Option<&PemPair>) -> PathBuf {
    let path = dir.path().join("passmate.db");
    drop(Sqlite::open(&path).unwrap());
    let file = dir.path().join("backup");
    write(
        &*StoreUrl::sqlite(&path).inspector().unwrap(),
        pair,
        &file,
        1_700_000_000,
        Copying::Whole,
    )
    .unwrap();
    file
}

#[test]
fn a_backup_returns_what_went_in() {
    let dir = tempfile::tempdir().unwrap();
    let pair = PemPair {
        certificate: b"certificate".to_vec(),
        key: Zeroizing::new(b"key".to_vec()),
    };
    let file = made(&dir, Some(&pair));
    let mut backup = Backup::open(&file).unwrap();
    assert_eq!(
        (backup.header().made_at, backup.header().accounts),
        (1_700_000_000, 0)
    );
    let read = backup.pair().unwrap().unwrap();
    assert_eq!(
        (read.certificate, &**read.key),
        (pair.certificate.clone(), b"key".as_slice())
    );
    let copy = dir.path().join("copy.db");
    backup.extract(&copy).unwrap();
    StoreUrl::sqlite(&copy)
        .inspector()
        .unwrap()
        .check(&mut |finding| panic!("{finding}"))
        .unwrap();
    assert!(is_backup(&file) && !is_backup(&copy));
    let names = |dir: &Path| {
        fs::read_dir(dir)
            .unwrap()
            .filter(|one| one.as_ref().unwrap().path().is_dir())
            .count()
    };
    assert_eq!(names(dir.path()), 0, "no staging folder is left");
}

#[test]
fn a_backup_does_not_upgrade_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("passmate.db");
    crate::store::make_first_schema(&path);
    let file = dir.path().join("backup");
    let header = write(
        &*StoreUrl::sqlite(&path).inspector().unwrap(),
        None,
        &file,
        0,
        Copying::Whole,
    )
    .unwrap();
    assert_eq!(header.schema, 1);
    assert_eq!(
        StoreUrl::sqlite(&path)
            .inspector()
            .unwrap()
            .schema()
            .unwrap(),
        1
    );
    let copy = StoreUrl::sqlite(dir.path().join("copy.db"));
    let extracted = copy.file().unwrap();
    Backup::open(&file).unwrap().extract(extracted).unwrap();
    assert_eq!(copy.inspector().unwrap().schema().unwrap(), 1);
    drop(copy.open(|_| ()).unwrap());
    assert!(copy.inspector().unwrap().schema().unwrap() > 1);
}

#[test]
fn every_cut_and_every_flipped_byte_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let file = made(&dir, None);
    let whole = fs::read(&file).unwrap();
    let bad = dir.path().join("bad");
    let header_len = MAGIC.len()
        + whole[MAGIC.len()..]
            .iter()
            .position(|byte| *byte == b'\n')
            .unwrap()
        + 1;
    // The whole header and hash, and a sample of the bytes between them.
    let between = (header_len..whole.len() - 32).step_by(997);
    for place in (0..header_len)
        .chain(between)
        .chain(whole.len() - 32..whole.len())
    {
        let mut flipped = whole.clone();
        flipped[place] ^= 1;
        fs::write(&bad, &flipped).unwrap();
        assert!(Backup::open(&bad).is_err(), "byte {place}");
        fs::write(&bad, &whole[..place]).unwrap();
        assert!(Backup::open(&bad).is_err(), "cut at {place}");
    }
    fs::write(&bad, [whole.as_slice(), b"x"].concat()).unwrap();
    assert!(matches!(
        Backup::open(&bad),
        Err(BackupError::Damaged { .. })
    ));
    let mut newer = whole.clone();
    let place = whole
        .windows(10)
        .position(|part| part.starts_with(b"\"schema\":"));
    newer[place.unwrap() + 9] = b'9';
    let end = newer.len() - 32;
    let hash = Sha256::digest(&newer[..end]);
    newer[end..].copy_from_slice(&hash);
    fs::write(&bad, &newer).unwrap();
    let error = Backup::open(&bad).unwrap_err();
    assert!(
        error.to_string().contains("was made by passmate-server ")
            && error.to_string().contains("has schema 9"),
        "{error}"
    );
    let newer =
        String::from_utf8_lossy(&whole[..header_len]).replace("\"version\":1", "\"version\":2");
    fs::write(&bad, newer).unwrap();
    assert!(matches!(Backup::open(&bad), Err(BackupError::Newer { .. })));
}

#[test]
fn staging_folders_of_killed_processes_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let made = |name: &str| {
        let path = dir.path().join(name);
        fs::create_dir(&path).unwrap();
        fs::write(path.join("passmate.db"), "a copy").unwrap();
        path
    };
    let at_work = staging_in(dir.path(), ".passmate-backup-").unwrap();
    let (left, new, other) = (
        made(".passmate-backup-left"),
        made(".passmate-backup-new"),
        made(".passmate-restore-"),
    );
    let long_ago = std::time::SystemTime::now() - 2 * LEFT_AFTER;
    for path in [at_work.path(), &left, &other] {
        File::open(path).unwrap().set_modified(long_ago).unwrap();
    }
    let next = staging_in(dir.path(), ".passmate-backup-").unwrap();
    assert!(!left.exists() && new.exists() && other.exists() && at_work.path().exists());
    let paths = [at_work.path().to_owned(), next.path().to_owned()];
    drop((at_work, next));
    assert!(paths.iter().all(|path| !path.exists()));
}

/// Another user may put anything into a folder that all may write to.
#[test]
fn a_pipe_with_the_name_of_a_staging_folder_holds_no_backup() {
    use rustix::fs::{AtFlags, CWD, Mode, Timespec, Timestamps};
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join(".passmate-backup-pipe");
    rustix::fs::mkfifoat(CWD, &pipe, Mode::RWXU).unwrap();
    let long_ago = Timespec {
        tv_sec: 1,
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: long_ago,
        last_modification: long_ago,
    };
    rustix::fs::utimensat(CWD, &pipe, &times, AtFlags::empty()).unwrap();
    staging_in(dir.path(), ".passmate-backup-").unwrap();
    assert!(pipe.symlink_metadata().is_ok());
}

#[test]
fn the_time_of_the_last_backup_is_noted() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path();
    assert_eq!(last_backup(store), None);
    note_last(store, 1_700_000_000, 7, true).unwrap();
    note_last(store, 1_800_000_000, 8, false).unwrap();
    assert_eq!(last_with_key(store), Some(1_700_000_000));
    assert_eq!(last_backup(store), Some(1_800_000_000));
    assert_eq!(last_accounts(store), Some(8));
    fs::write(dir.path().join(LAST), "soon").unwrap();
    assert_eq!(last_backup(store), None);
}

#[test]
fn a_backup_in_progress_is_its_owners_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let staging = staging_in(dir.path(), ".staging-").unwrap();
    assert_eq!(mode(staging.path()), 0o700);
    let store = StoreUrl::sqlite(dir.path().join("passmate.db"));
    drop(store.open(|_| ()).unwrap());
    let copy = staging.path().join("copy");
    let operator = store.inspector().unwrap();
    operator.copy_to(&copy).unwrap();
    assert_eq!(mode(&copy), 0o600);
    let copy = staging.path().join("salvaged");
    operator
        .salvage_to(&copy, &mut |lost| panic!("{lost}"))
        .unwrap();
    assert_eq!(mode(&copy), 0o600);
}
