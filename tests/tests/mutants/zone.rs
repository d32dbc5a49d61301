//! CAA answers as they go over the wire, taken apart and put together again.

/// The type CAA.
const CAA: u16 = 257;
/// The length of a DNS header.
const HEADER: usize = 12;

/// One CAA record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caa {
    pub flags: u8,
    pub tag: String,
    pub value: String,
}

/// A DNS answer.
#[derive(Debug)]
pub struct Message {
    /// The name that was asked for.
    pub name: String,
    kind: u16,
    /// Header and question.
    front: Vec<u8>,
    /// Aliases, as they came.
    aliases: Vec<Vec<u8>>,
    /// Owner and class of CAA records, and the records.
    owner: Vec<u8>,
    records: Vec<Caa>,
}

impl Message {
    /// Reads an answer with uncompressed names, as the suite writes them.
    pub fn read(octets: &[u8]) -> Option<Self> {
        let (name, end) = read_name(octets, HEADER)?;
        let number = |at: usize| Some(u16::from_be_bytes(octets.get(at..at + 2)?.try_into().ok()?));
        let (kind, mut at) = (number(end)?, end + 4);
        let mut message = Self {
            name,
            kind,
            front: octets.get(..at)?.to_vec(),
            aliases: Vec::new(),
            owner: octets.get(HEADER..end)?.to_vec(),
            records: Vec::new(),
        };
        for _ in 0..number(6)? {
            let (_, after) = read_name(octets, at)?;
            let length = usize::from(number(after + 8)?);
            let data = octets.get(after + 10..after + 10 + length)?;
            if number(after)? == CAA {
                message.owner = octets.get(at..after)?.to_vec();
                message.records.push(Caa::read(data)?);
            } else {
                message.aliases.push(octets.get(at..after + 10 + length)?.to_vec());
            }
            at = after + 10 + length;
        }
        Some(message)
    }

    /// Whether it answers for CAA.
    pub fn is_caa(&self) -> bool {
        self.kind == CAA
    }

    /// Alters the records.
    pub fn alter(&mut self, change: impl FnOnce(&mut Vec<Caa>)) {
        change(&mut self.records);
    }

    /// Writes it, without authority and additional records.
    pub fn written(&self) -> Vec<u8> {
        let mut out = self.front.clone();
        let count = u16::try_from(self.aliases.len() + self.records.len()).unwrap_or_default();
        out[6..8].copy_from_slice(&count.to_be_bytes());
        out[8..HEADER].fill(0);
        out.extend(self.aliases.concat());
        for record in &self.records {
            let data = record.written();
            out.extend_from_slice(&self.owner);
            out.extend(CAA.to_be_bytes());
            out.extend([0, 1, 0, 0, 0, 1]);
            out.extend(u16::try_from(data.len()).unwrap_or_default().to_be_bytes());
            out.extend(data);
        }
        out
    }
}

impl Caa {
    fn read(data: &[u8]) -> Option<Self> {
        let (&flags, rest) = data.split_first()?;
        let (&length, rest) = rest.split_first()?;
        let (tag, value) = rest.split_at_checked(usize::from(length))?;
        Some(Self {
            flags,
            tag: String::from_utf8_lossy(tag).into_owned(),
            value: String::from_utf8_lossy(value).into_owned(),
        })
    }

    fn written(&self) -> Vec<u8> {
        let length = u8::try_from(self.tag.len()).unwrap_or_default();
        [&[self.flags, length], self.tag.as_bytes(), self.value.as_bytes()].concat()
    }
}

fn read_name(octets: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*octets.get(at)?);
        if length == 0 {
            return Some((labels.join("."), at + 1));
        }
        if length > 63 {
            return None;
        }
        let label = octets.get(at + 1..at + 1 + length)?;
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        at += 1 + length;
    }
}

#[test]
fn writes_what_it_read() {
    let record = Caa {
        flags: 128,
        tag: "issue".into(),
        value: ";".into(),
    };
    let front = [&[0; 6][..], &[0, 1, 0, 0, 0, 0], b"\x01a\x00\x01\x01\x00\x01"].concat();
    let data = record.written();
    let length = [0, u8::try_from(data.len()).expect("short")];
    let octets = [&front[..], b"\x01a\x00\x01\x01\x00\x01\x00\x00\x00\x01", &length, &data].concat();
    let message = Message::read(&octets).expect("an answer");
    assert_eq!((message.name.as_str(), &message.records[..]), ("a", &[record][..]));
    assert_eq!(message.written(), octets);
}
