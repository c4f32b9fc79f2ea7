//! A signature does not change a bundle: the envelope is stored beside the manifest, in both forms.

use std::sync::Arc;

use bundles::archive::{self, ArchiveError};
use bundles::signature::{ENVELOPE, Envelope, Posture, PublicKey, Signers, SigningKey, judge};
use bundles::{Acceptances, Bundle, BundleLimits, Contents, layout};
use cap_std::ambient_authority;
use cap_std::fs::Dir;

use crate::bundle_digest::single_file::{BLOCK, entries, packed_from, small, summed};

fn key(number: u8) -> SigningKey {
    let made = SigningKey::generate(|seed| {
        seed.fill(number);
        Ok::<_, std::convert::Infallible>(())
    });
    let Ok(key) = made;
    key
}

fn required(key: PublicKey) -> Posture {
    Posture::Required(Signers::new([key], None).expect("a signer"))
}

fn signed(bundle: &Bundle) -> Contents {
    let envelope = Envelope::sign(Arc::clone(bundle.manifest_bytes()), &key(1));
    Contents::new(bundle.clone(), Some(envelope)).expect("an envelope for this bundle")
}

fn unpack(packed: &[u8]) -> Result<Contents, ArchiveError> {
    archive::unpack_contents(packed, &BundleLimits::default(), Acceptances::Honour)
}

fn judged(contents: &Contents) -> Result<usize, &'static str> {
    let manifest = contents.bundle().manifest_bytes();
    let judged = judge(&required(key(1).public_key()), manifest, contents.envelope());
    judged.map(|by| by.len()).map_err(|refusal| refusal.code().as_str())
}

#[test]
fn signing_changes_neither_the_digest_nor_the_blobs() {
    let bundle = small();
    let packed = archive::pack_contents(&signed(&bundle));
    let again = unpack(&packed).expect("a signed bundle");
    assert_eq!(again.bundle().digest(), bundle.digest());
    assert!(again.bundle().blobs().eq(bundle.blobs()));
    assert_eq!(judged(&again), Ok(1));
    assert_eq!(archive::pack_contents(&again), packed, "one bundle with one envelope is one file");
    // A caller that does not check signatures gets the bundle.
    let plain = archive::unpack(&packed, &BundleLimits::default(), Acceptances::Honour).expect("a bundle");
    assert_eq!(archive::pack(&plain), archive::pack(&bundle));
    let unsigned = unpack(&archive::pack(&bundle)).expect("a bundle");
    assert!(unsigned.envelope().is_none());
    assert_eq!(judged(&unsigned), Err("bundle_unsigned"));
    assert_eq!(archive::pack_contents(&unsigned), archive::pack(&bundle));
}

#[test]
fn an_envelope_of_another_bundle_is_refused() {
    let (one, other) = (small(), yoi_tests::fuzz::seeds::bundle());
    let foreign = signed(&other).envelope().cloned();
    assert_eq!(Contents::new(one, foreign).expect_err("another bundle").code(), "signature_invalid");
    let mut mixed = entries(&archive::pack_contents(&signed(&small())));
    mixed[1] = entries(&archive::pack_contents(&signed(&other))).swap_remove(1);
    assert_eq!(unpack(&packed_from(&mixed)).expect_err("another bundle").code(), "signature_invalid");
}

#[test]
fn every_flipped_bit_of_a_signed_bundle_is_refused() {
    let packed = archive::pack_contents(&signed(&small()));
    for at in 0..packed.len() {
        let mut flipped = packed.clone();
        flipped[at] ^= 1 << (at % 8);
        match unpack(&flipped) {
            Err(error) => assert!(!error.help().is_empty()),
            Ok(other) => assert!(judged(&other).is_err(), "byte {at}"),
        }
    }
}

#[test]
fn envelope_has_one_position_and_one_spelling_in_an_archive() {
    let packed = archive::pack_contents(&signed(&small()));
    let entries = entries(&packed);
    let [manifest, envelope, one, two] = entries.as_slice() else { panic!("four files") };
    for wrong in [
        vec![envelope, manifest, one, two],
        vec![manifest, one, envelope, two],
        vec![manifest, one, two, envelope],
        vec![manifest, envelope, envelope, one, two],
        vec![envelope, one, two],
    ] {
        let packed = packed_from(&wrong.into_iter().cloned().collect::<Vec<_>>());
        assert_eq!(unpack(&packed).expect_err("another order").code(), "not_a_bundle");
    }
    assert!(unpack(&packed_from(&[manifest.clone(), one.clone(), two.clone()])).is_ok(), "unsigned");
    // Under another name it is neither an envelope nor a blob.
    let mut renamed = envelope.clone();
    renamed[..5].copy_from_slice(b"other");
    let packed = packed_from(&[manifest.clone(), summed(renamed), one.clone(), two.clone()]);
    assert_eq!(unpack(&packed).expect_err("another name").code(), "not_a_bundle");

    let with = |json: &[u8]| {
        let mut entry = envelope[..BLOCK].to_vec();
        entry[124..135].copy_from_slice(format!("{:011o}", json.len()).as_bytes());
        entry.extend(json);
        entry.resize(entry.len().next_multiple_of(BLOCK), 0);
        unpack(&packed_from(&[manifest.clone(), summed(entry), one.clone(), two.clone()])).map_err(|error| error.code())
    };
    let json = signed(&small()).envelope().expect("signed").to_json();
    let text = String::from_utf8(json.clone()).expect("JSON");
    assert!(with(&json).is_ok());
    assert_eq!(with(format!("{text}\n").as_bytes()).expect_err("a line end"), "not_a_bundle");
    assert_eq!(with(text.replace(':', ": ").as_bytes()).expect_err("white space"), "invalid_envelope");
    assert_eq!(with(b"").expect_err("nothing"), "invalid_json");
    assert_eq!(with(b"{}").expect_err("nothing"), "invalid_field");
    assert_eq!(with(b"[").expect_err("no JSON"), "invalid_json");
}

#[test]
fn envelope_does_not_count_against_the_bundle_size() {
    let bundle = small();
    let limits = BundleLimits { bundle_bytes: archive::pack(&bundle).len(), ..BundleLimits::default() };
    let packed = archive::pack_contents(&signed(&bundle));
    assert!(packed.len() > limits.bundle_bytes && packed.len() <= limits.archive_bytes());
    assert!(archive::unpack_contents(&packed, &limits, Acceptances::Honour).is_ok());
    let limits = BundleLimits { bundle_bytes: limits.bundle_bytes - 1, ..limits };
    let error = archive::unpack_contents(&packed, &limits, Acceptances::Honour).expect_err("too large");
    assert_eq!(error.code(), "too_large");
    let limits = BundleLimits { manifest_bytes: bundle.manifest_bytes().len(), ..BundleLimits::default() };
    assert!(archive::unpack_contents(&packed, &limits, Acceptances::Honour).is_ok());
    let larger = vec![0; limits.archive_bytes() + 1];
    let error = archive::unpack_contents(&larger, &limits, Acceptances::Honour).expect_err("too large");
    assert!(matches!(error, ArchiveError::TooLarge { .. }));
}

#[test]
fn the_folder_form_holds_the_envelope_beside_the_manifest() {
    let place = tempfile::tempdir().expect("a folder");
    let dir = Dir::open_ambient_dir(place.path(), ambient_authority()).expect("a folder");
    let read = || layout::read_contents(&dir, &BundleLimits::default(), Acceptances::Honour);
    let code = || read().expect_err("refused").code();
    let bundle = small();
    layout::write_contents(&dir, &signed(&bundle)).expect("written");
    let again = read().expect("a signed bundle");
    assert_eq!((again.bundle().digest(), judged(&again)), (bundle.digest(), Ok(1)));
    // The spelling of another implementation is accepted too.
    let json = dir.read_to_string(ENVELOPE).expect("an envelope");
    dir.write(ENVELOPE, format!(" {}\n", json.replace("\",", "\" ,\n"))).expect("written");
    assert_eq!(judged(&read().expect("a signed bundle")), Ok(1));

    dir.write(ENVELOPE, "{").expect("written");
    assert_eq!(code(), "invalid_json");
    assert!(layout::read(&dir, &BundleLimits::default(), Acceptances::Honour).is_ok(), "the bundle alone is whole");
    dir.write(ENVELOPE, vec![b' '; BundleLimits::default().envelope_bytes() + 1]).expect("written");
    assert_eq!(code(), "too_large");
    dir.write(ENVELOPE, signed(&yoi_tests::fuzz::seeds::bundle()).envelope().expect("signed").to_json())
        .expect("written");
    assert_eq!(code(), "signature_invalid");
    dir.remove_file(ENVELOPE).expect("gone");
    assert!(read().expect("a bundle").envelope().is_none());
    dir.create_dir(ENVELOPE).expect("a folder");
    assert_eq!(code(), "not_a_file");
    #[cfg(unix)]
    {
        dir.remove_dir(ENVELOPE).expect("gone");
        dir.write("beside", json).expect("written");
        dir.symlink("beside", ENVELOPE).expect("a link");
        assert_eq!(code(), "not_a_file");
    }
}
