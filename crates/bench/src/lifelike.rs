//! A vault that compresses about as well as one of a person. The vaults of the other figures repeat
//! the same password a thousand times.

use passmate_vault::{RecordId, Vault};

use crate::accounts::noise;
use crate::vault::TIME;

const USERS: [&str; 4] = ["bob", "bob@mail.example", "b.miller@work.example", "Bob M."];
const FOLDERS: [&str; 6] = ["", "bank/", "home/", "servers/", "web/", "web/shops/"];
const PASSWORD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const LETTERS: &[u8; 16] = b"abdeilmnoprstuvw";
const YEAR: i64 = 365 * 24 * 3600;

/// Makes a vault in which each record has a path, a user, a random password and an address, some have
/// an old password, a note or a key of one-time codes, and every change has a time of its own.
pub(crate) fn make_lifelike_vault(records: usize) -> Vault {
    let mut vault = Vault::new();
    for index in 0..records {
        let mut draw = Draw::new(index as u64);
        let id = RecordId::from(format!("{:016X}", draw.number()));
        let site = format!("{}.example", draw.text(LETTERS, 5 + index % 7));
        let at = TIME + draw.below(5 * YEAR);
        let folder = draw.one_of(&FOLDERS);
        vault
            .create_record(id.clone(), format!("{folder}{site}"), at)
            .expect("the id is new");
        let mut fields = vec![
            ("user", (*draw.one_of(&USERS)).to_owned()),
            ("password", draw.text(PASSWORD, 20)),
            (
                "url",
                format!("https://www.{site}/{}", draw.text(LETTERS, 6)),
            ),
        ];
        if index % 4 == 0 {
            fields.push(("password", draw.text(PASSWORD, 20)));
        }
        if index % 5 == 0 {
            let words: Vec<_> = (0..8)
                .map(|word| draw.text(LETTERS, 3 + word % 5))
                .collect();
            fields.push(("notes", words.join(" ")));
        }
        if index % 10 == 0 {
            fields.push(("otp", draw.text(BASE32, 32)));
        }
        for (later, (name, value)) in fields.into_iter().enumerate() {
            let at = at + later as i64 * draw.below(YEAR / 4);
            vault.set(&id, name, value, at).expect("the record exists");
        }
    }
    vault
}

/// Random choices, the same for each seed.
struct Draw(std::vec::IntoIter<u8>);

impl Draw {
    fn new(seed: u64) -> Self {
        Self(noise(1024, seed).into_iter())
    }

    fn byte(&mut self) -> u8 {
        self.0.next().expect("a record takes less than 1024 bytes")
    }

    fn number(&mut self) -> u64 {
        u64::from_le_bytes([(); 8].map(|()| self.byte()))
    }

    fn below(&mut self, bound: i64) -> i64 {
        (self.number() % bound.unsigned_abs()).cast_signed()
    }

    fn one_of<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let place = usize::from(self.byte()) % from.len();
        from.get(place).expect("it is below the length")
    }

    fn text(&mut self, from: &[u8], len: usize) -> String {
        (0..len).map(|_| char::from(*self.one_of(from))).collect()
    }
}
