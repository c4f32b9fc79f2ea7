//! Values for tests, drawn at run time so that the source contains none.

pub(crate) const HEX: &str = "0123456789abcdef";
pub(crate) const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
pub(crate) const BASE32: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
pub(crate) const BASE62: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
pub(crate) const URL_SAFE: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
pub(crate) const BASE64: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
pub(crate) const ALNUM_DICE_SEED: u64 = 11;

/// A deterministic generator.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33
    }

    /// Returns a number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.next() as usize % end
    }

    /// Returns a string of `length` characters of an alphabet.
    pub(crate) fn draw(&mut self, alphabet: &str, length: usize) -> String {
        let letters: Vec<char> = alphabet.chars().collect();
        (0..length).map(|_| letters[self.next() as usize % letters.len()]).collect()
    }

    /// Returns a string of `length` ASCII characters that satisfy `is`.
    pub(crate) fn draw_where(&mut self, length: usize, is: impl Fn(u8) -> bool) -> String {
        let letters: String = (0..128_u8).filter(|&byte| is(byte)).map(char::from).collect();
        self.draw(&letters, length)
    }
}

/// Encodes in base64 with padding.
pub(crate) fn to_base64(bytes: &[u8]) -> String {
    let alphabet = BASE64.as_bytes();
    bytes
        .chunks(3)
        .flat_map(|chunk| {
            let bits = chunk.iter().fold(0_u32, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - chunk.len()));
            (0..4).map(move |index| {
                if index <= chunk.len() { char::from(alphabet[(bits >> (18 - 6 * index) & 63) as usize]) } else { '=' }
            })
        })
        .collect()
}

/// Encodes in base64url without padding.
pub(crate) fn to_base64url(bytes: &[u8]) -> String {
    to_base64(bytes).replace('+', "-").replace('/', "_").replace('=', "")
}

/// Fills a template: `{b62:36}` stands for 36 characters of an alphabet.
pub(crate) fn fill(template: &str, dice: &mut Dice) -> String {
    let mut text = template.to_owned();
    let upper_hex = HEX.to_uppercase();
    let lower = "abcdefghijklmnopqrstuvwxyz0123456789";
    let alphabets = [
        ("b62", BASE62),
        ("hex", HEX),
        ("HEX", &upper_hex),
        ("up", UPPER),
        ("b32", BASE32),
        ("url", URL_SAFE),
        ("b64", BASE64),
        ("dig", "123456789"),
        ("lower", lower),
    ];
    for (name, alphabet) in alphabets {
        while let Some(start) = text.find(&format!("{{{name}:")) {
            let end = start + text.split_at(start).1.find('}').unwrap();
            let length = text.get(start + name.len() + 2..end).unwrap().parse().unwrap();
            text.replace_range(start..=end, &dice.draw(alphabet, length));
        }
    }
    let mut replace = |name: &str, draw: &dyn Fn(&mut Dice) -> String| {
        while text.contains(name) {
            text = text.replacen(name, &draw(dice), 1);
        }
    };
    replace("{uuid}", &|dice| [8, 4, 4, 4, 12].map(|length| dice.draw(HEX, length)).join("-"));
    replace("{private}", &|_| "PRIVATE".to_owned());
    replace("{basic}", &|dice| to_base64(format!("admin:{}", dice.draw(BASE62, 12)).as_bytes()));
    replace("{discord}", &|dice| to_base64url(format!("1{}", dice.draw("0123456789", 17)).as_bytes()).split_off(1));
    replace("{words}", &|dice| (0..12).map(|_| dice.draw("aeioubcdlmnrst", 5)).collect::<Vec<_>>().join(" "));
    replace("{jwt}", &|dice| {
        format!(
            "{}.{}.{}",
            to_base64url(br#"{"alg":"HS256","typ":"JWT"}"#),
            to_base64url(br#"{"sub":"12","iat":1}"#),
            dice.draw(URL_SAFE, 43)
        )
    });
    replace("{jwe}", &|dice| {
        let header = to_base64url(br#"{"alg":"RSA-OAEP","enc":"A256GCM"}"#);
        format!(
            "{header}.{}.{}.{}.{}",
            dice.draw(URL_SAFE, 342),
            dice.draw(URL_SAFE, 16),
            dice.draw(URL_SAFE, 80),
            dice.draw(URL_SAFE, 22)
        )
    });
    replace("{jwt-none}", &|_| {
        format!("{}.{}.", to_base64url(br#"{"alg":"none"}"#), to_base64url(br#"{"sub":"12","iat":1}"#))
    });
    replace("{b64-key}", &|dice| {
        let line = ["-----BEGIN EC ", "PRIVATE KEY-----"].concat();
        to_base64(format!("{line}\n{}\n", dice.draw(BASE64, 64)).as_bytes())
    });
    text
}
