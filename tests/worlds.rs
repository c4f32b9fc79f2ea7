//! The worlds of the sandbox equal those of the contract in `wit/`.

use std::collections::BTreeSet;

use component_host::World;
use wit_parser::{Resolve, WorldItem, WorldKey};
use yoi_tests::root;

#[test]
fn each_world_has_the_imports_and_exports_of_the_contract() {
    let mut contract = Resolve::default();
    let (package, _) = contract.push_dir(root().join("wit")).expect("the contract");
    let worlds: BTreeSet<_> = contract.packages[package].worlds.keys().map(String::as_str).collect();
    assert_eq!(worlds, BTreeSet::from(["resolver", "service", "tool"]));
    for world in [World::Resolver, World::Tool, World::Service] {
        let name = world.name().strip_prefix("yoi:runtime/").and_then(|name| name.strip_suffix("@1.0.0"));
        let id = contract.packages[package].worlds[name.expect("a name")];
        let names = |items: &mut dyn Iterator<Item = (&WorldKey, &WorldItem)>| -> BTreeSet<String> {
            items.map(|(key, _)| contract.name_world_key(key)).collect()
        };
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let written = &contract.worlds[id];
        assert_eq!(names(&mut written.imports.iter()), owned(world.allowed_imports()), "{world:?}");
        assert_eq!(names(&mut written.exports.iter()), owned(world.required_exports()), "{world:?}");
    }
}
