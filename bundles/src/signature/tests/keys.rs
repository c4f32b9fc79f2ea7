//! Tests of keys: one spelling, weak keys are refused, and signing keys are never output.

use super::*;

fn from_hex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("ASCII"));
    pairs.map(|pair| u8::from_str_radix(pair, 16).expect("hex")).collect()
}

#[test]
fn keys_are_those_of_rfc_8032() {
    let seed = from_hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
    let key = SigningKey::generate(|bytes| {
        bytes.copy_from_slice(&seed);
        Ok::<_, ()>(())
    })
    .expect("a key");
    let public = from_hex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
    assert_eq!(key.public_key().as_bytes().as_slice(), public);
    let signature = from_hex(
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    );
    assert_eq!(key.sign(b"").as_slice(), signature);
}

#[test]
fn a_public_key_has_one_spelling() {
    let key = key(1).public_key();
    let text = key.to_string();
    assert_eq!((text.parse(), text.len()), (Ok(key), 52));
    let body = text.strip_prefix("ed25519:").expect("a prefix");
    let (most, last) = (body.get(..42).expect("base64"), body.as_bytes()[42]);
    for wrong in [
        body.to_owned(),
        format!("ED25519:{body}"),
        format!(" {text}"),
        format!("{text}\n"),
        text.trim_end_matches('=').to_owned(),
        format!("ed25519:{most}{}=", char::from(last + 1)),
        format!("ed25519:{}", base64::encode(&[1; 31])),
        format!("ed25519:{}", base64::encode(&[1; 33])),
        format!("ed25519:{}", "A".repeat(4000)),
        "ed25519:".to_owned(),
        String::new(),
    ] {
        assert_eq!(wrong.parse::<PublicKey>(), Err(InvalidPublicKey::Spelling), "{wrong:?}");
    }
}

/// Encodings of points of small order, including non-canonical ones.
const WEAK: [&str; 14] = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
];

fn weak(hex: &str) -> [u8; 32] {
    from_hex(hex).try_into().expect("32 bytes")
}

#[test]
fn weak_keys_are_refused_when_parsed() {
    for hex in WEAK {
        let bytes = weak(hex);
        assert_eq!(PublicKey::from_bytes(&bytes), Err(InvalidPublicKey::Weak), "{hex}");
        let text = format!("ed25519:{}", base64::encode(&bytes));
        assert_eq!(text.parse::<PublicKey>(), Err(InvalidPublicKey::Weak));
    }
    // A valid key plus a point of small order verifies some signatures and not others.
    let honest = ed25519_dalek::VerifyingKey::from_bytes(key(1).public_key().as_bytes()).expect("a key");
    for hex in &WEAK[1..8] {
        let torsion = ed25519_dalek::VerifyingKey::from_bytes(&weak(hex)).expect("a point").to_edwards();
        let mixed = (honest.to_edwards() + torsion).compress().to_bytes();
        assert!(!ed25519_dalek::VerifyingKey::from_bytes(&mixed).expect("a point").is_weak());
        assert_eq!(PublicKey::from_bytes(&mixed), Err(InvalidPublicKey::Weak), "{hex}");
    }
    // Another encoding of the same point would have another key id. Some of these are valid points and not weak.
    let mut points = 0;
    for (first, sign) in (0xed..=0xff).flat_map(|first| [(first, 0x7f), (first, 0xff)]) {
        let mut bytes = [0xff; 32];
        (bytes[0], bytes[31]) = (first, sign);
        assert_eq!(PublicKey::from_bytes(&bytes), Err(InvalidPublicKey::Weak));
        points += usize::from(ed25519_dalek::VerifyingKey::from_bytes(&bytes).is_ok_and(|key| !key.is_weak()));
    }
    assert!(points > 0, "the check on the encoding has something to refuse");
}

#[test]
fn a_signature_with_another_spelling_of_its_numbers_is_refused() {
    let message = pae(crate::manifest::MEDIA_TYPE, MANIFEST);
    let good = key(1).sign(&message);
    let public = key(1).public_key();
    assert!(public.is_good(&message, &good));
    // The same number plus the order of the group. RFC 8032 forbids it, and some implementations accept it.
    let order = weak("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    let mut other = good;
    let mut carry = 0u16;
    for (byte, more) in other[32..].iter_mut().zip(order) {
        carry += u16::from(*byte) + u16::from(more);
        (*byte, carry) = (carry as u8, carry >> 8);
    }
    assert!(carry == 0 && other != good);
    assert!(!public.is_good(&message, &other));
    for hex in WEAK {
        let mut other = good;
        other[..32].copy_from_slice(&weak(hex));
        assert!(!public.is_good(&message, &other));
    }
}

#[test]
fn a_signing_key_has_one_text_form() {
    let file = key(7).to_file();
    assert!(file.starts_with("yoi-signing-key-ed25519:") && file.ends_with("=\n") && file.lines().count() == 1);
    let read = |text: &str| SigningKey::from_file(text.as_bytes()).map(|key| key.public_key());
    assert_eq!(read(&file), Ok(key(7).public_key()));
    assert_eq!(read(file.trim_end()), Ok(key(7).public_key()), "the line end may be lost");
    for saved in [file.replace('\n', "\r\n"), format!("\u{feff}{}", *file), format!("\u{feff}{}\r\n", file.trim_end())]
    {
        assert_eq!(read(&saved), Ok(key(7).public_key()), "{saved:?}");
    }
    let wide: Vec<u8> = file.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(SigningKey::from_file(&wide).map(|_| ()), Err(InvalidSigningKey::Encoding));
    let prefix = "yoi-signing-key-ed25519:";
    for wrong in [
        format!("{}\n", *file),
        format!(" {}", *file),
        file.replace('\n', "\r"),
        file.replace('\n', "\r\n\r\n"),
        file.replace("=\n", "\n"),
        file.to_uppercase(),
        format!("{prefix}{}\n", base64::encode(&[7; 31])),
        format!("{prefix}{}\n", base64::encode(&[7; 33])),
        format!("{prefix}\n"),
        String::new(),
    ] {
        assert_eq!(read(&wrong), Err(InvalidSigningKey::Spelling), "{wrong:?}");
    }
    assert_eq!(read(&format!("{}\n", key(7).public_key())), Err(InvalidSigningKey::PublicKey));
    assert_eq!(read(&"x".repeat(MAX_SIGNING_KEY_BYTES + 1)), Err(InvalidSigningKey::TooLarge));
    assert_eq!(file.parse::<PublicKey>(), Err(InvalidPublicKey::SigningKey));
    assert!(SigningKey::generate(|_| Err(())).is_err());
}

#[test]
fn signing_key_is_never_output() {
    let key = SigningKey::generate(|seed| {
        seed.copy_from_slice(b"CANARY-canary-CANARY-canary-CANA");
        Ok::<_, ()>(())
    })
    .expect("a key");
    let file = key.to_file();
    let secret = file.trim_end().rsplit(':').next().expect("base64");
    let bytes = format!("{:?}", b"CANARY");
    let envelope = Envelope::sign(Arc::from(MANIFEST), &key);
    let mut output = format!("{key:?} {key:#?} {:?} {envelope:?}", key.public_key());
    for wrong in [format!("{}x", *file), format!("x{}", *file), file.replace('=', "?"), file.repeat(20)] {
        let error = SigningKey::from_file(wrong.as_bytes()).expect_err("no key");
        output.push_str(&format!("{error} {error:?} {}", error.help()));
    }
    for wrong in [file.to_string(), secret.to_owned(), format!("ed25519:{secret}x")] {
        let error = wrong.parse::<PublicKey>().expect_err("no key");
        output.push_str(&format!("{error} {error:?} {}", error.help()));
        let toml = format!("posture = 'required'\nkeys = ['''{wrong}''']");
        output.push_str(toml::from_str::<Posture>(&toml).expect_err("no key").message());
        let mut json = written(&envelope);
        for place in ["/payload", "/payloadType", "/signatures/0/keyid", "/signatures/0/sig"] {
            *json.pointer_mut(place).expect("a field") = wrong.clone().into();
            match parse(&json) {
                Ok(envelope) => output.push_str(&format!("{envelope:?}")),
                Err(error) => output.push_str(&format!("{error} {error:?} {}", error.help())),
            }
        }
    }
    for part in secret.as_bytes().windows(6) {
        assert!(!output.contains(std::str::from_utf8(part).expect("ASCII")), "{output}");
    }
    assert!(!output.contains("CANARY") && !output.contains(bytes.trim_matches(['[', ']'])), "{output}");
}
