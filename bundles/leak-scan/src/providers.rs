//! Credentials with a fixed prefix, as a table with one line for each shape.
//!
//! Credentials that need more than a prefix and an alphabet are in `structured`. `tokens` interprets the table.

use crate::LeakRule;

/// Alphabet of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alphabet {
    /// `0-9 a-f`
    Hex,
    /// `A-Z 0-9`
    Upper,
    /// `a-z 0-9`
    Lower,
    /// `A-Z a-z 0-9`
    Alnum,
    /// `A-Z a-z 0-9 _ -`
    Url,
    /// `A-Z a-z 0-9 _ - .`
    Dotted,
    /// `A-Z a-z 0-9 + / =`
    Base64,
    /// Alphabet of crypt and percent-encoding: `A-Z a-z 0-9 . / $ = , + % _ -`
    Wide,
}

impl Alphabet {
    pub(crate) fn has(self, byte: u8) -> bool {
        match self {
            Self::Hex => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
            Self::Upper => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Self::Lower => byte.is_ascii_lowercase() || byte.is_ascii_digit(),
            Self::Alnum => byte.is_ascii_alphanumeric(),
            Self::Url => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'),
            Self::Dotted => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'),
            Self::Base64 => byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='),
            Self::Wide => {
                byte.is_ascii_alphanumeric()
                    || matches!(byte, b'.' | b'/' | b'$' | b'=' | b',' | b'+' | b'%' | b'_' | b'-')
            }
        }
    }
}

/// A prefix and the text that must follow it.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) prefix: &'static str,
    pub(crate) alphabet: Alphabet,
    /// Minimum number of characters after the prefix.
    pub(crate) min: usize,
    /// Maximum number of characters after the prefix.
    pub(crate) max: usize,
    /// `true` if the token may follow a letter directly, because the prefix does not occur by chance.
    pub(crate) glued: bool,
    /// `true` if the shape is sufficient evidence, except for placeholders and plain words. Otherwise the token must
    /// look random too.
    pub(crate) certain: bool,
}

impl Shape {
    const fn certain(mut self) -> Self {
        self.certain = true;
        self
    }

    const fn glued(mut self) -> Self {
        self.glued = true;
        self
    }
}

/// A rule and its shapes.
#[derive(Debug)]
pub(crate) struct Provider {
    pub(crate) rule: LeakRule,
    pub(crate) shapes: &'static [Shape],
}

/// Token with at least `min` characters after the prefix.
const fn from(prefix: &'static str, alphabet: Alphabet, min: usize) -> Shape {
    Shape { prefix, alphabet, min, max: usize::MAX, glued: false, certain: false }
}

/// Token with exactly `length` characters after the prefix, followed by a boundary.
const fn exactly(prefix: &'static str, alphabet: Alphabet, length: usize) -> Shape {
    Shape { prefix, alphabet, min: length, max: length, glued: false, certain: true }
}

const fn provider(id: &'static str, what: &'static str, shapes: &'static [Shape]) -> Provider {
    Provider { rule: LeakRule::secret(id, what), shapes }
}

use Alphabet::{Alnum, Base64, Dotted, Hex, Lower, Upper, Url, Wide};

/// All providers whose credentials have a prefix.
#[rustfmt::skip] // One line a shape, as a table.
pub(crate) static PROVIDERS: &[Provider] = &[
    // Clouds.
    provider("secret.aws", "AWS access key id or session token", &[
        exactly("AKIA", Upper, 16), exactly("ASIA", Upper, 16), exactly("ABIA", Upper, 16), exactly("ACCA", Upper, 16),
        from("IQoJb3JpZ2luX2Vj", Base64, 40), from("FwoGZXIvYXdzE", Base64, 40), from("ABSK", Base64, 100),
        from("bedrock-api-key-", Base64, 40),
    ]),
    provider("secret.google", "Google API key or OAuth credential", &[
        from("AIza", Url, 33).certain(), from("ya29.", Dotted, 20), from("1//0", Url, 30), from("GOCSPX-", Url, 20).certain(),
        from("GOOG1E", Alnum, 50), from("AQ.Ab", Url, 30),
    ]),
    provider("secret.aliyun", "Alibaba Cloud access key", &[from("LTAI", Alnum, 12).certain()]),
    provider("secret.tencent", "Tencent Cloud access key", &[exactly("AKID", Alnum, 32)]),
    provider("secret.yandex", "Yandex credential", &[
        from("AQVN", Url, 35), from("YCAJE", Url, 20), from("y0_", Url, 40), from("t1.9", Dotted, 60),
    ]),
    provider("secret.scw", "Scaleway access key", &[exactly("SCW", Upper, 17)]),
    provider("secret.droplet", "DigitalOcean token", &[
        from("dop_v1_", Hex, 60).certain(), from("doo_v1_", Hex, 60), from("dor_v1_", Hex, 60), from("DO00", Upper, 16),
    ]),
    provider("secret.edge", "Cloudflare token", &[
        from("cfut_", Url, 30), from("cfat_", Url, 30), from("cfk_", Url, 30), from("v1.0-", Url, 100),
    ]),
    provider("secret.heroku", "Heroku API key", &[from("HRKU-", Url, 30)]),
    provider("secret.fly", "Fly.io token", &[
        from("fm2_", Base64, 40), from("fm1r_", Base64, 40), from("fm1a_", Base64, 40), from("fo1_", Url, 30),
    ]),
    provider("secret.hosting", "hosting platform token", &[
        from("nfp_", Alnum, 30), from("nfo_", Alnum, 30), from("nfc_", Alnum, 30), from("vcp_", Alnum, 24),
        from("vck_", Alnum, 24), from("vca_", Alnum, 24), from("vci_", Alnum, 24), from("vcr_", Alnum, 24),
        from("rnd_", Alnum, 24), from("ddp_", Alnum, 30), from("ddo_", Alnum, 30), from("tk-us-", Url, 40),
        from("napi_", Alnum, 40), from("vercel_blob_rw_", Url, 24),
    ]),
    // Code and packages.
    provider("secret.github", "GitHub token", &[
        from("ghp_", Alnum, 30).glued(), from("gho_", Alnum, 30).glued(), from("ghu_", Alnum, 30).glued(),
        from("ghs_", Alnum, 30).glued(), from("ghr_", Alnum, 30).glued(), from("github_pat_", Url, 30).glued().certain(),
    ]),
    provider("secret.gitlab", "GitLab token", &[
        from("glpat-", Dotted, 16).glued().certain(), from("gldt-", Dotted, 16).certain(), from("glrt-", Dotted, 16).certain(),
        from("glrtr-", Dotted, 16).certain(), from("glcbt-", Dotted, 16).certain(), from("glptt-", Dotted, 16).certain(), from("glft-", Dotted, 16).certain(),
        from("glimt-", Dotted, 16).certain(), from("glagent-", Dotted, 16).certain(), from("glsoat-", Dotted, 16).certain(),
        from("glffct-", Dotted, 16).certain(), from("gloas-", Dotted, 16).certain(), from("glwt-", Dotted, 16).certain(), from("GR1348941", Url, 16).certain(),
        from("_gitlab_session=", Alnum, 16),
    ]),
    provider("secret.jira", "Atlassian or Bitbucket token", &[
        from("ATBB", Url, 24).certain(), from("ATATT3", Wide, 24), from("ATCTT3", Wide, 24), from("ATSTT3", Wide, 24),
    ]),
    provider("secret.forge", "forge token", &[from("gta_", Hex, 30), from("sgp_", Alnum, 30), from("slk_", Hex, 40)]),
    provider("secret.npm", "npm token", &[from("npm_", Alnum, 30).certain()]),
    provider("secret.pypi", "PyPI token", &[from("pypi-", Url, 40)]),
    provider("secret.gems", "RubyGems key", &[from("rubygems_", Hex, 40).certain()]),
    provider("secret.crates", "crates.io token", &[from("cio", Alnum, 32)]),
    provider("secret.package", "package registry token", &[
        exactly("oy2", Lower, 43), from("CLOJARS_", Hex, 40), from("dckr_pat_", Url, 20).certain(), from("dckr_oat_", Url, 20).certain(),
        from("AKCp", Alnum, 60), from("cmVmdGtu", Alnum, 50), from("packagist_", Url, 40), from("jsr_", Alnum, 30),
        from("ghcr_", Alnum, 30), from("quay_", Alnum, 30),
    ]),
    // Models.
    provider("secret.claude", "Anthropic key", &[from("sk-ant-", Url, 20).glued().certain()]),
    provider("secret.router", "OpenRouter key", &[from("sk-or-", Url, 30)]),
    provider("secret.openai", "OpenAI key, or one of the same shape", &[
        from("sk-proj-", Url, 30).glued().certain(), from("sk-svcacct-", Url, 30).glued(), from("sk-admin-", Url, 30),
        from("sk-None-", Url, 30), from("sess-", Alnum, 40), from("sk-", Url, 24),
    ]),
    provider("secret.hf", "Hugging Face token", &[from("hf_", Alnum, 28), from("api_org_", Alnum, 28)]),
    provider("secret.model", "key of a model service", &[
        from("gsk_", Alnum, 30), from("xai-", Alnum, 40), from("pplx-", Alnum, 30), from("r8_", Alnum, 30),
        from("nvapi-", Url, 30), from("csk-", Alnum, 30), from("pa-", Url, 40), from("jina_", Alnum, 40),
        from("tvly-", Url, 24), from("fc-", Hex, 32), from("lsv2_", Url, 30), from("pcsk_", Url, 40),
        from("esecret_", Alnum, 20), from("rpa_", Alnum, 30), from("fw_", Alnum, 20), from("e2b_", Hex, 30),
        from("bb_live_", Url, 20), from("sk_", Hex, 40), from("wandb_v1_", Url, 30),
        from("tgp_v1_", Url, 30), from("cpk_", Dotted, 40), from("mem0-", Alnum, 30),
        from("bsk-", Url, 30), from("ak-", Alnum, 22), from("as-", Alnum, 22), from("sk_car_", Alnum, 20),
    ]),
    // Chat and mail.
    provider("secret.slack", "Slack token", &[
        from("xoxb-", Wide, 20).glued().certain(), from("xoxp-", Wide, 20).glued().certain(), from("xoxa-", Wide, 20),
        from("xoxr-", Wide, 20), from("xoxs-", Wide, 20), from("xoxo-", Wide, 20), from("xoxe-", Wide, 20),
        from("xoxc-", Wide, 20), from("xoxd-", Wide, 20), from("xoxe.xox", Wide, 20), from("xapp-", Url, 30),
        from("xwfp-", Url, 30),
    ]),
    provider("secret.mail", "mail service key", &[
        exactly("key-", Hex, 32), from("xkeysib-", Url, 60), from("xsmtpsib-", Url, 60), from("re_", Url, 24),
        from("mlsn.", Hex, 40), from("md-", Alnum, 22), from("SMTP_", Alnum, 60),
    ]),
    provider("secret.twilio", "Twilio key", &[exactly("SK", Hex, 32)]),
    // Payment.
    provider("secret.stripe", "Stripe key, or one of the same shape", &[
        from("sk_live_", Alnum, 16).certain(), from("sk_test_", Alnum, 16).certain(), from("rk_live_", Alnum, 16).certain(),
        from("rk_test_", Alnum, 16).certain(), from("sk_prod_", Alnum, 16), from("rk_prod_", Alnum, 16), from("whsec_", Base64, 20),
        from("sk_org_", Url, 16),
    ]),
    provider("secret.payment", "payment provider key", &[
        from("sq0atp-", Url, 20).certain(), from("sq0csp-", Url, 40).certain(), from("EAAA", Url, 56), from("EAAl", Url, 56),
        from("access_token$production$", Wide, 24), from("access_token$sandbox$", Wide, 24),
        from("access-production-", Url, 32), from("access-sandbox-", Url, 32), from("access-development-", Url, 32),
        from("FLWSECK-", Url, 24), from("FLWSECK_TEST-", Url, 12), from("EZAK", Alnum, 50), from("EZTK", Alnum, 50),
        from("shippo_live_", Hex, 30), from("shippo_test_", Hex, 30), from("duffel_live_", Url, 30),
        from("duffel_test_", Url, 30), from("lip_live_", Alnum, 30), exactly_random("live_", Alnum, 30),
        exactly_random("test_", Alnum, 30), from("gocardless_", Url, 30), from("live_gc_", Url, 30),
    ]),
    provider("secret.shopify", "Shopify token", &[
        from("shpat_", Alnum, 28).certain(), from("shpca_", Alnum, 28).certain(), from("shppa_", Alnum, 28).certain(), from("shpss_", Alnum, 28).certain(),
        from("shptka_", Alnum, 28), from("shpua_", Alnum, 28), from("shprt_", Alnum, 28),
    ]),
    // Monitoring.
    provider("secret.monitor", "monitoring key", &[
        from("NRAK-", Upper, 24), from("NRAA-", Url, 24), from("NRII-", Url, 24), from("NRRA-", Hex, 40),
        from("sntrys_", Wide, 40), from("sntryu_", Hex, 40), from("sntrya_", Wide, 40), from("sntryi_", Wide, 40),
        from("glsa_", Url, 30), from("glc_", Base64, 30), from("eyJrIjoi", Base64, 40), from("dt0c01.", Dotted, 60),
        from("dt0s01.", Dotted, 60), from("dt0s16.", Dotted, 60), from("hcaik_", Alnum, 30), from("hcamk_", Alnum, 30),
        from("phx_", Alnum, 30), from("pdus+", Url, 16), from("CCIPAT_", Url, 30), from("CCIPRJ_", Url, 30),
        from("bkua_", Alnum, 30), from("bkct_", Alnum, 30), from("bkar_", Alnum, 30), from("squ_", Alnum, 30),
        from("sqp_", Alnum, 30), from("sqa_", Alnum, 30), from("snyk_", Dotted, 40), from("ico-", Alnum, 32),
        from("dapi", Hex, 32), from("dkea", Hex, 32), from("dose", Hex, 32), from("ddapp_", Alnum, 30),
        from("ddpat_", Alnum, 30), from("fio-u-", Url, 40), from("logfire_", Url, 24), from("pylf_v1_", Url, 24),
        from("sk-lf-", Url, 30), from("cy_pat_", Alnum, 24),
    ]),
    // Office services.
    provider("secret.office", "token of an office service", &[
        exactly("secret_", Alnum, 43), from("ntn_", Alnum, 30).certain(), from("lin_api_", Alnum, 30).certain(), from("lin_oauth_", Alnum, 30),
        from("lin_wh_", Alnum, 24), from("figd_", Url, 30).certain(), from("figo_", Url, 30), from("figu_", Url, 30),
        from("figoh_", Url, 30), from("figor_", Url, 30), from("sl.", Url, 60), from("sl.u.", Url, 60),
        from("pat-na1-", Url, 32).certain(), from("pat-na2-", Url, 32).certain(), from("pat-eu1-", Url, 32).certain(), from("CFPAT-", Url, 30),
        from("tfp_", Dotted, 40), from("PMAK-", Url, 40), from("PMAT-", Url, 20), from("rdme_", Alnum, 40),
        from("p8e-", Alnum, 30), from("sm_pat_", Alnum, 16), from("sm_sat_", Alnum, 16),
        from("sm_aat_", Alnum, 16), from("dG9rOg", Base64, 30), from("sdk-", Url, 36),
        from("cal_live_", Alnum, 24), from("cal_", Hex, 32), from("IGQV", Url, 60), from("EAA", Alnum, 100),
        from("oauth:", Lower, 30), from("sk.eyJ", Dotted, 40), from("sbp_", Hex, 36), from("sb_secret_", Url, 20).certain(),
        from("secret-token:", Wide, 20), from("todoist_", Alnum, 30), from("ATTA", Alnum, 60), from("cu_pat_", Alnum, 24), from("attn_", Alnum, 30),
    ]),
    // Infrastructure.
    provider("secret.vault", "Vault token", &[
        from("hvs.", Url, 20).certain(), from("hvb.", Url, 20).certain(), from("hvr.", Url, 20).certain(), exactly_random("s.", Alnum, 24),
        exactly_random("b.", Alnum, 24), exactly_random("r.", Alnum, 24),
    ]),
    provider("secret.infra", "infrastructure token", &[
        from("pul-", Hex, 36).certain(), from("dp.pt.", Url, 30), from("dp.st.", Dotted, 30), from("dp.ct.", Url, 30),
        from("dp.sa.", Url, 30), from("dp.scim.", Url, 30), from("dp.audit.", Url, 30), from("dp.said.", Url, 30),
        from("tskey-", Url, 20).certain(), from("ops_eyJ", Url, 40), from("pscale_tkn_", Dotted, 24).certain(),
        from("pscale_pw_", Dotted, 24).certain(), from("pscale_oauth_", Dotted, 24).certain(), from("mdb_sa_sk_", Url, 24),
        from("CCDB1_", Url, 30), from("AVNS_", Url, 16).certain(), from("pnu_", Alnum, 30), from("pnb_", Alnum, 30),
        from("sha256~", Url, 40), from("st.", Dotted, 60), from("cflt", Base64, 56), from("API-", Upper, 26),
        from("kubeconfig-u-", Alnum, 20), from("infisical_", Url, 30), from("ory_pat_", Alnum, 24),
        from("ory_at_", Dotted, 30), from("ngrok_", Alnum, 30), from("zpat_", Alnum, 30), from("ts_api_", Alnum, 24),
        from("AKO_", Alnum, 30), from("nbp_", Alnum, 30), from("nbs_", Alnum, 30), from("pxp_", Alnum, 30),
    ]),
    // Keys without a PEM block.
    provider("secret.raw_key", "bare private key", &[
        exactly("AGE-SECRET-KEY-1", Upper, 58), from("AGE-SECRET-KEY-PQ-1", Upper, 58), exactly("nsec1", Lower, 58),
        from("xprv", Alnum, 100), from("zprv", Alnum, 100), from("yprv", Alnum, 100), from("tprv", Alnum, 100),
        from("b3BlbnNzaC1rZXktdjE", Base64, 40).glued(), from("MC4CAQAwBQYDK2VwBCIE", Base64, 20),
        from("MC4CAQAwBQYDK2VuBCIE", Base64, 20), from("MHcCAQEE", Base64, 80), from("MIGHAgEA", Base64, 80),
        from("MIG2AgEA", Base64, 80), from("MHQCAQEE", Base64, 80), from("IBADANBgkqhkiG9w0BAQEFAASC", Base64, 40).glued(),
        from("RWRTY0Iy", Base64, 60), from("RWQAAEIy", Base64, 60), from("edsk", Alnum, 50),
        from("yoi-signing-key-ed25519:", Base64, 40).certain().glued(),
    ]),
    provider("secret.crypt", "crypt hash of a login", &[
        from("$2a$", Wide, 50).certain(), from("$2b$", Wide, 50).certain(), from("$2x$", Wide, 50).certain(),
        from("$2y$", Wide, 50).certain(), from("$1$", Wide, 24), from("$5$", Wide, 40), from("$6$", Wide, 60),
        from("$y$", Wide, 40), from("$7$", Wide, 40), from("$gy$", Wide, 40), from("$apr1$", Wide, 24).certain(),
        from("$argon2", Wide, 40), from("$scrypt$", Wide, 40), from("$pbkdf2", Wide, 40), from("$P$", Wide, 28),
        from("$H$", Wide, 28), from("$S$", Wide, 40), from("$sha1$", Wide, 30), from("pbkdf2_sha256$", Wide, 40),
        from("pbkdf2_sha1$", Wide, 30), from("argon2$argon2", Wide, 40), from("bcrypt_sha256$", Wide, 40),
        from("{SSHA}", Base64, 30), from("{SHA}", Base64, 26), from("{SSHA256}", Base64, 40), from("{SSHA512}", Base64, 60),
        from("{PBKDF2", Wide, 30),
    ]),
];

/// Token with exactly `length` random characters after the prefix. The prefix alone is too common.
const fn exactly_random(prefix: &'static str, alphabet: Alphabet, length: usize) -> Shape {
    Shape { prefix, alphabet, min: length, max: length, glued: false, certain: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_has_a_prefix_and_a_length() {
        for provider in PROVIDERS {
            assert!(provider.rule.id().starts_with("secret."), "{}", provider.rule.id());
            for shape in provider.shapes {
                assert!(!shape.prefix.is_empty() && shape.min >= 12 && shape.min <= shape.max, "{}", shape.prefix);
            }
        }
    }
}
