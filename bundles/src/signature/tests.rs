//! Tests of signing and judging. Each refusal has a neighbouring case that passes.

mod envelopes;
mod keys;

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::limits::BundleLimits;

const MANIFEST: &[u8] = br#"{"a":"any bytes will do"}"#;

fn key(number: u8) -> SigningKey {
    SigningKey::generate(|seed| {
        seed.fill(number);
        Ok::<_, ()>(())
    })
    .expect("a key")
}

fn signed_by(numbers: &[u8]) -> Envelope {
    let mut envelope = Envelope::sign(Arc::from(MANIFEST), &key(numbers[0]));
    for number in &numbers[1..] {
        envelope.add(&key(*number)).expect("room");
    }
    envelope
}

fn id(number: u8) -> KeyId {
    key(number).public_key().id()
}

fn required(numbers: &[u8], threshold: Option<usize>) -> Posture {
    let keys = numbers.iter().map(|number| key(*number).public_key());
    Posture::Required(Signers::new(keys, threshold).expect("signers"))
}

fn parse(json: &Value) -> Result<Envelope, EnvelopeError> {
    Envelope::parse(json.to_string().as_bytes(), &BundleLimits::default())
}

fn written(envelope: &Envelope) -> Value {
    serde_json::from_slice(&envelope.to_json()).expect("JSON")
}

fn refused(posture: &Posture, manifest: &[u8], envelope: Option<&Envelope>) -> SignatureRefusal {
    let refusal = judge(posture, manifest, envelope).expect_err("refused");
    assert!(!refusal.help().is_empty() && !refusal.to_string().ends_with('.'));
    refusal
}

#[test]
fn pre_authentication_encoding_matches_the_published_one() {
    let published = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world";
    assert_eq!(pae("http://example.com/HelloWorld", b"hello world"), published);
    assert_eq!(pae("", b""), b"DSSEv1 0  0 ");
    // Lengths count bytes and separate the type from the payload.
    assert_eq!(pae("\u{e9}", b"\xff"), b"DSSEv1 2 \xc3\xa9 1 \xff");
    assert_ne!(pae("a", b"b c"), pae("a b", b"c"));
}

#[test]
fn signed_manifest_verifies() {
    let envelope = signed_by(&[1]);
    let again = Envelope::parse(&envelope.to_json(), &BundleLimits::default()).expect("an envelope");
    assert_eq!(again, envelope);
    let trusted = [key(1).public_key(), key(2).public_key()];
    let signed = verify(MANIFEST, &again, &trusted).expect("good");
    assert_eq!((signed.trusted.len(), signed.trusted.contains(&id(1)), signed.unknown.len()), (1, true, 0));
    assert_eq!(judge(&required(&[1], None), MANIFEST, Some(&again)), Ok(vec![id(1)]));
}

#[test]
fn each_refusal_has_its_code_and_a_neighbour_that_passes() {
    let one = required(&[1], None);
    assert_eq!(refused(&one, MANIFEST, None).code(), "bundle_unsigned");
    assert_eq!(judge(&Posture::None, MANIFEST, None), Ok(vec![]));
    assert_eq!(judge(&Posture::None, MANIFEST, Some(&signed_by(&[9]))), Ok(vec![]));
    let refusal = refused(&one, MANIFEST, Some(&signed_by(&[2])));
    assert_eq!(refusal, SignatureRefusal::UnknownKey { keys: vec![id(2)], signed: 0, needed: 1 });
    assert_eq!(refusal.code(), "signing_key_unknown");
    // Signatures of other keys are ignored.
    assert_eq!(judge(&one, MANIFEST, Some(&signed_by(&[2, 1, 3]))), Ok(vec![id(1)]));
    let refusal = refused(&one, b"{}", Some(&signed_by(&[1])));
    assert_eq!(refusal, SignatureRefusal::Invalid(InvalidSignature::OtherManifest));
    assert_eq!(refusal.code(), "signature_invalid");
}

#[test]
fn the_threshold_counts_keys_and_not_signatures() {
    let two_of_three = required(&[1, 2, 3], Some(2));
    assert!(judge(&two_of_three, MANIFEST, Some(&signed_by(&[3, 1]))).is_ok());
    assert_eq!(judge(&two_of_three, MANIFEST, Some(&signed_by(&[1, 2, 3]))).map(|by| by.len()), Ok(3));
    let refusal = refused(&two_of_three, MANIFEST, Some(&signed_by(&[1])));
    assert_eq!(refusal, SignatureRefusal::Unsigned { signed: 1, needed: 2 });
    let refusal = refused(&two_of_three, MANIFEST, Some(&signed_by(&[1, 4])));
    assert_eq!(refusal, SignatureRefusal::UnknownKey { keys: vec![id(4)], signed: 1, needed: 2 });
    // Two signatures of one key.
    let mut twice = written(&signed_by(&[1]));
    let one = twice["signatures"][0].clone();
    twice["signatures"].as_array_mut().expect("a list").push(one);
    let twice = parse(&twice).expect("an envelope");
    assert_eq!(refused(&two_of_three, MANIFEST, Some(&twice)).code(), "bundle_unsigned");
    assert_eq!(judge(&required(&[1], None), MANIFEST, Some(&twice)), Ok(vec![id(1)]));
    // Without a threshold, all keys must sign.
    assert!(judge(&required(&[1, 2], None), MANIFEST, Some(&signed_by(&[1]))).is_err());
    assert!(judge(&required(&[1, 2], None), MANIFEST, Some(&signed_by(&[1, 2]))).is_ok());
}

#[test]
fn invalid_signature_of_a_trusted_key_refuses_the_envelope() {
    let mut json = written(&signed_by(&[1, 2]));
    json["signatures"][1]["sig"] = json["signatures"][0]["sig"].clone();
    let envelope = parse(&json).expect("an envelope");
    let refusal = refused(&required(&[1, 2], Some(1)), MANIFEST, Some(&envelope));
    assert_eq!(refusal, SignatureRefusal::Invalid(InvalidSignature::NotByKey(id(2))));
    // Signatures of untrusted keys are not verified.
    assert!(judge(&required(&[1], None), MANIFEST, Some(&envelope)).is_ok());
}

#[test]
fn every_flipped_bit_of_an_envelope_is_refused() {
    let good = signed_by(&[1]).to_json();
    let posture = required(&[1], None);
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut flipped = good.clone();
            flipped[at] ^= 1 << bit;
            if let Ok(envelope) = Envelope::parse(&flipped, &BundleLimits::default()) {
                assert!(judge(&posture, MANIFEST, Some(&envelope)).is_err(), "byte {at}, bit {bit}");
            }
        }
    }
}

#[test]
fn a_flip_of_payload_signature_or_keyid_has_its_code() {
    let posture = required(&[1], None);
    let json = written(&signed_by(&[1]));
    let code = |json: &Value| match parse(json) {
        Ok(envelope) => refused(&posture, MANIFEST, Some(&envelope)).code(),
        Err(error) => error.code(),
    };
    for at in 0..MANIFEST.len() {
        let mut payload = MANIFEST.to_vec();
        payload[at] ^= 1 << (at % 8);
        let mut json = json.clone();
        json["payload"] = base64::encode(&payload).into();
        assert_eq!(code(&json), "signature_invalid", "byte {at} of the payload");
        // With the manifest changed in the same way, the signature does not match.
        let envelope = parse(&json).expect("an envelope");
        assert_eq!(refused(&posture, &payload, Some(&envelope)).code(), "signature_invalid", "byte {at}");
    }
    let signature = base64::decode(json["signatures"][0]["sig"].as_str().expect("text")).expect("base64");
    for at in 0..signature.len() {
        let mut signature = signature.clone();
        signature[at] ^= 1 << (at % 8);
        let mut json = json.clone();
        json["signatures"][0]["sig"] = base64::encode(&signature).into();
        assert_eq!(code(&json), "signature_invalid", "byte {at} of the signature");
    }
    let named = id(1).to_string();
    for at in "sha256:".len()..named.len() {
        let mut other = named.clone().into_bytes();
        other[at] = if other[at] == b'0' { b'1' } else { b'0' };
        let mut json = json.clone();
        json["signatures"][0]["keyid"] = String::from_utf8(other).expect("ASCII").into();
        assert_eq!(code(&json), "signing_key_unknown", "digit {at} of the id");
    }
}

#[test]
fn signature_for_another_payload_type_is_invalid() {
    let mut json = written(&signed_by(&[1]));
    json["payloadType"] = "application/vnd.in-toto+json".into();
    assert_eq!(parse(&json), Err(EnvelopeError::PayloadType));
    // Signed for another type and relabelled.
    let mut json = written(&signed_by(&[1]));
    json["signatures"][0]["sig"] = base64::encode(&key(1).sign(&pae("application/vnd.in-toto+json", MANIFEST))).into();
    let envelope = parse(&json).expect("an envelope");
    assert_eq!(refused(&required(&[1], None), MANIFEST, Some(&envelope)).code(), "signature_invalid");
    // Signed without the pre-authentication encoding.
    json["signatures"][0]["sig"] = base64::encode(&key(1).sign(MANIFEST)).into();
    let envelope = parse(&json).expect("an envelope");
    assert_eq!(refused(&required(&[1], None), MANIFEST, Some(&envelope)).code(), "signature_invalid");
}

#[test]
fn impossible_posture_is_refused() {
    let posture = |toml: &str| {
        toml::from_str::<Posture>(toml).map_err(|error| error.message().lines().next().unwrap_or_default().to_owned())
    };
    let (one, two) = (key(1).public_key(), key(2).public_key());
    assert_eq!(posture("posture = 'none'"), Ok(Posture::None));
    let both = format!("posture = 'required'\nkeys = ['{two}', '{one}']");
    assert_eq!(posture(&both), Ok(required(&[1, 2], Some(2))));
    assert_eq!(posture(&format!("{both}\nthreshold = 1")), Ok(required(&[1, 2], Some(1))));
    for (wrong, expected) in [
        (format!("{both}\nthreshold = 0"), "between 1 and the number of keys"),
        (format!("{both}\nthreshold = 3"), "between 1 and the number of keys"),
        (format!("{both}\nthreshold = -1"), "expected usize"),
        ("posture = 'required'".to_owned(), "`keys` is empty"),
        ("posture = 'required'\nkeys = []".to_owned(), "`keys` is empty"),
        (format!("posture = 'required'\nkeys = ['{one}', '{one}']"), "names a key twice"),
        (format!("posture = 'none'\nkeys = ['{one}']"), "requires nothing"),
        ("posture = 'none'\nthreshold = 1".to_owned(), "requires nothing"),
        ("posture = 'optional'".to_owned(), "unknown variant"),
        ("keys = []".to_owned(), "missing field `posture`"),
        ("posture = 'none'\nkey = 1".to_owned(), "unknown field `key`"),
    ] {
        let error = posture(&wrong).expect_err("no posture");
        assert!(error.contains(expected), "{wrong}: {error}");
    }
    let keys = |count: u8| Signers::new((1..=count).map(|number| key(number).public_key()), Some(1));
    assert!(keys(16).is_ok());
    assert_eq!(keys(17), Err(InvalidSigners::TooManyKeys(17)));
    for posture in [Posture::None, required(&[1, 2, 3], Some(2))] {
        let written = serde_json::to_value(&posture).expect("JSON");
        assert_eq!(serde_json::from_value::<Posture>(written).expect("a posture"), posture);
    }
}
