//! What is a name, a version, a digest.

use super::*;

#[test]
fn names() {
    let longest = "x".repeat(64);
    for good in ["a", "0", "Digits", "image-net.v2_b", "a..", longest.as_str()] {
        assert_eq!(good.parse::<ModelName>().unwrap().as_str(), good);
        assert_eq!(good.parse::<PluginName>().unwrap().to_string(), good);
        assert_eq!(good.parse::<TenantId>().unwrap().as_str(), good);
    }
    let too_long = "x".repeat(65);
    for bad in ["", ".", "..", "-a", "_a", "a b", "a/b", "a@1.0.0", "é", "a\0", "a\n", too_long.as_str()] {
        assert!(bad.parse::<ModelName>().is_err(), "{bad:?}");
        assert!(bad.parse::<PluginName>().is_err(), "{bad:?}");
        assert!(bad.parse::<TenantId>().is_err(), "{bad:?}");
    }
    assert_eq!(TenantId::default_tenant(), "default".parse().unwrap());
}

#[test]
fn an_error_says_what_was_expected_and_what_came() {
    let error = |text: &str| text.parse::<Version>().unwrap_err().to_string();
    assert_eq!(error("1"), "expected a semantic version such as `1.0.0`, got `1`");
    assert_eq!(error("1.2"), "expected a semantic version such as `1.0.0`, got `1.2`");
    assert_eq!(error("a\nb"), "expected a semantic version such as `1.0.0`, got `a\\nb`");
    let long = "image".parse::<PluginRef>().unwrap_err();
    assert_eq!(long.to_string(), "expected a plugin and its version such as `image@0.1.0`, got `image`");
    assert!("x".repeat(100_000).parse::<ModelName>().unwrap_err().to_string().len() < 300);
}

#[test]
fn references() {
    let plugin: PluginRef = "image@0.1.0-rc.1+linux".parse().unwrap();
    assert_eq!((plugin.name.as_str(), plugin.version.as_str()), ("image", "0.1.0-rc.1+linux"));
    assert_eq!(plugin.to_string(), "image@0.1.0-rc.1+linux");
    let model: ModelRef = "digits@1.0.0".parse().unwrap();
    assert_eq!(serde_json::to_string(&model).unwrap(), "\"digits@1.0.0\"");
    assert_eq!(serde_json::from_str::<ModelRef>("\"digits@1.0.0\"").unwrap(), model);
    for (bad, expected) in [
        ("digits", "a model and its version"),
        ("@1.0.0", "a model name"),
        ("digits@", "a semantic version"),
        ("digits@1", "a semantic version"),
        ("digits@1.0.0@1.0.0", "a semantic version"),
    ] {
        let error = bad.parse::<ModelRef>().unwrap_err();
        assert!(error.expected.starts_with(expected), "{bad}: {error}");
    }
}

#[test]
fn version_order_is_semvers() {
    // Each before the next. The last lines are build metadata, where leading zeros are allowed.
    let ordered = [
        "0.0.0-0",
        "0.0.0",
        "1.0.0-0",
        "1.0.0-9",
        "1.0.0-10",
        "1.0.0-99999999999999999999999999",
        "1.0.0-A",
        "1.0.0-a",
        "1.0.0-a.1",
        "1.0.0-a.a",
        "1.0.0-a-b",
        "1.0.0-ab",
        "1.0.0-alpha",
        "1.0.0-alpha+5",
        "1.0.0-alpha.1",
        "1.0.0-alpha.beta",
        "1.0.0-beta",
        "1.0.0-beta.2",
        "1.0.0-beta.11",
        "1.0.0-rc.1",
        "1.0.0",
        "1.0.0+0",
        "1.0.0+00",
        "1.0.0+1",
        "1.0.0+01",
        "1.0.0+01.a",
        "1.0.0+2",
        "1.0.0+10",
        "1.0.0+a",
        "1.0.0+a.0",
        "1.0.0+b",
        "1.0.1",
        "1.9.0",
        "1.10.0",
        "2.0.0",
        "18446744073709551615.0.0",
    ];
    let versions: Vec<Version> = ordered.iter().map(|text| text.parse().unwrap()).collect();
    for (i, left) in versions.iter().enumerate() {
        for (j, right) in versions.iter().enumerate() {
            assert_eq!(left.cmp(right), i.cmp(&j), "{left} against {right}");
            assert_eq!(left == right, i == j);
            assert_eq!(left.sort_key().cmp(&right.sort_key()), i.cmp(&j), "keys of {left} and {right}");
        }
        assert_eq!(left.to_string(), ordered[i]);
    }
    assert!(versions[0].is_prerelease() && !versions[1].is_prerelease());
}

#[test]
fn versions_are_strict() {
    for bad in ["", "1", "1.2", "v1.0.0", "1.0.0.0", "01.0.0", "1.0.0-01", " 1.0.0", "1.0.0 ", "latest", "^1.0.0"] {
        assert!(bad.parse::<Version>().is_err(), "{bad:?}");
    }
    assert!(format!("1.0.0+{}", "a".repeat(122)).parse::<Version>().is_ok());
    assert!(format!("1.0.0+{}", "a".repeat(123)).parse::<Version>().is_err());
}

#[test]
fn digests() {
    let text = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let digest = Digest::of(b"abc");
    assert_eq!(digest.to_string(), text);
    assert_eq!(text.parse::<Digest>().unwrap(), digest);
    assert_eq!(format!("sha256:{}", digest.hex()), text);
    assert_eq!(digest.as_bytes()[0], 0xba);
    let mut hasher = Hasher::new();
    hasher.update(b"a");
    hasher.update(b"bc");
    assert_eq!(hasher.finish(), digest);
    for bad in ["", "sha256:", "sha256:ab", &text[7..], &text.to_uppercase(), "sha512:ba", &format!("{text}0")] {
        assert!(bad.parse::<Digest>().is_err(), "{bad}");
    }
}
