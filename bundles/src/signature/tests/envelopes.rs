//! Tests of envelope parsing and its errors.

use proptest::prelude::*;

use super::*;

#[test]
fn an_envelope_of_another_shape_is_refused_by_name() {
    type Change<'a> = &'a dyn Fn(&mut Value);
    let good = written(&signed_by(&[1]));
    let with = |change: Change<'_>| {
        let mut json = good.clone();
        change(&mut json);
        parse(&json).map_err(|error| (error.code().as_str(), !error.help().is_empty()))
    };
    assert!(with(&|_| ()).is_ok());
    let cases: &[(&str, Change<'_>)] = &[
        ("unknown_field", &|json| json["more"] = 1.into()),
        ("unknown_field", &|json| json["signatures"][0]["cert"] = "x".into()),
        ("invalid_field", &|json| json["payload"] = 1.into()),
        ("invalid_field", &|json| json["payloadType"] = Value::Null),
        ("invalid_field", &|json| drop(json.as_object_mut().map(|map| map.remove("payload")))),
        ("invalid_field", &|json| drop(json["signatures"][0].as_object_mut().map(|map| map.remove("sig")))),
        ("invalid_field", &|json| *json = json!([])),
        ("too_deep", &|json| json["signatures"][0]["sig"] = json!([["x"]])),
        ("invalid_envelope", &|json| json["signatures"] = json!([])),
        ("invalid_envelope", &|json| drop(json["signatures"][0].as_object_mut().map(|map| map.remove("keyid")))),
        ("invalid_envelope", &|json| json["signatures"][0]["keyid"] = "my key".into()),
        ("invalid_envelope", &|json| json["signatures"][0]["keyid"] = id(1).to_string().to_uppercase().into()),
        ("invalid_envelope", &|json| json["signatures"][0]["sig"] = "AAAA".into()),
        ("invalid_envelope", &|json| json["signatures"][0]["sig"] = base64::encode(&[0; 65]).into()),
        ("invalid_envelope", &|json| json["payload"] = "not base64".into()),
    ];
    for (code, change) in cases {
        assert_eq!(with(*change).expect_err(code), (*code, true));
    }
    let many = |count: usize| {
        let one = good["signatures"][0].clone();
        with(&|json: &mut Value| json["signatures"] = vec![one.clone(); count].into())
    };
    assert!(many(MAX_SIGNATURES).is_ok());
    assert_eq!(many(MAX_SIGNATURES + 1), Err(("too_large", true)));
    let text = good.to_string();
    for twice in [
        text.replacen("{\"payload\"", "{\"payload\":\"\",\"payload\"", 1),
        text.replacen("\"sig\"", "\"sig\":\"\",\"sig\"", 1),
    ] {
        let error = Envelope::parse(twice.as_bytes(), &BundleLimits::default()).expect_err("a key twice");
        assert_eq!(error.code(), "duplicate_key");
    }
}

#[test]
fn base64_has_one_spelling_in_either_alphabet() {
    let json = written(&signed_by(&[1]));
    let sig = json["signatures"][0]["sig"].as_str().expect("text").to_owned();
    let with = |sig: &str| {
        let mut json = json.clone();
        json["signatures"][0]["sig"] = sig.into();
        parse(&json)
    };
    // DSSE allows signers to use the URL-safe alphabet.
    assert_eq!(with(&sig.replace('+', "-").replace('/', "_")), Ok(signed_by(&[1])));
    let body = sig.strip_suffix("==").expect("two of padding");
    let (body, last) = body.split_at(body.len() - 1);
    assert!("AQgw".contains(last), "the last character has four stray bits");
    for wrong in [
        format!("{body}{}==", char::from(last.as_bytes()[0] + 1)),
        sig.trim_end_matches('=').to_owned(),
        format!("{sig}="),
        format!("{sig}\n"),
        format!(" {sig}"),
    ] {
        assert_eq!(with(&wrong), Err(EnvelopeError::Base64("sig")), "{wrong:?}");
    }
    assert_eq!(base64::decode("+/+/"), base64::decode("-_-_"));
    assert_eq!(base64::decode("+/-_"), None, "one alphabet a text");
}

#[test]
fn an_envelope_is_bounded_by_the_manifest_that_it_is_for() {
    let limits = BundleLimits { manifest_bytes: MANIFEST.len(), ..BundleLimits::default() };
    let mut bytes = signed_by(&[1]).to_json();
    assert!(Envelope::parse(&bytes, &limits).is_ok());
    bytes.resize(limits.envelope_bytes(), b' ');
    assert!(Envelope::parse(&bytes, &limits).is_ok());
    bytes.push(b' ');
    assert_eq!(Envelope::parse(&bytes, &limits).expect_err("too large").code(), "too_large");
    // The largest manifest with the maximum number of signatures.
    let limits = BundleLimits::default();
    let mut envelope = Envelope::sign(vec![b'x'; limits.manifest_bytes].into(), &key(1));
    for number in 2..=16 {
        envelope.add(&key(number)).expect("room");
    }
    assert!(Envelope::parse(&envelope.to_json(), &limits).is_ok());
    assert_eq!(envelope.add(&key(17)), Err(EnvelopeError::TooManySignatures(17)));
    assert_eq!(envelope.claimed_key_ids().count(), MAX_SIGNATURES);
    envelope.add(&key(16)).expect("its own place");
}

proptest! {
    #[test]
    fn any_bytes_are_an_envelope_or_a_typed_error(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        if let Err(error) = Envelope::parse(&bytes, &BundleLimits::default()) {
            prop_assert!(!error.help().is_empty() && !error.to_string().is_empty());
        }
    }

    #[test]
    fn any_fields_are_an_envelope_or_a_typed_error(
        payload in ".{0,40}", kind in ".{0,40}", keyid in ".{0,80}", sig in "[A-Za-z0-9+/=_-]{0,90}",
    ) {
        let json = json!({
            "payload": payload, "payloadType": kind, "signatures": [{ "keyid": keyid, "sig": sig }],
        });
        prop_assert!(parse(&json).is_err());
        let ours = json!({
            "payload": base64::encode(payload.as_bytes()),
            "payloadType": crate::manifest::MEDIA_TYPE,
            "signatures": [{ "keyid": id(1).to_string(), "sig": base64::encode(&[7; 64]) }],
        });
        let envelope = parse(&ours).expect("an envelope");
        prop_assert_eq!(envelope.payload(), payload.as_bytes());
        prop_assert!(judge(&required(&[1], None), payload.as_bytes(), Some(&envelope)).is_err());
    }

    #[test]
    fn only_the_signed_manifest_verifies(
        manifest in proptest::collection::vec(any::<u8>(), 0..300), other in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let envelope = Envelope::sign(manifest.clone().into(), &key(1));
        let posture = required(&[1], None);
        prop_assert!(judge(&posture, &manifest, Some(&envelope)).is_ok());
        prop_assert_eq!(judge(&posture, &other, Some(&envelope)).is_ok(), manifest == other);
    }
}
