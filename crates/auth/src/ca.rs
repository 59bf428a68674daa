//! The registry's trust: a certificate authority of our own and the key that signs registry tokens.
//!
//! An operator gives registries the authority's certificate once; each token carries the leaf
//! certificate (`x5c`). It is made again in memory long before it expires, so neither side needs a
//! restart.

use std::sync::{Arc, PoisonError, RwLock};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{DateTime, Datelike as _, Duration, Utc};
use jsonwebtoken::{DecodingKey, EncodingKey};
use omgservers_api::Problem;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SerialNumber, date_time_ymd,
};

const CA_NAME: &str = "OMGSERVERS token authority";
const LEAF_NAME: &str = "OMGSERVERS token signer";
const CA_DAYS: i64 = 20 * 365;
const LEAF_DAYS: i64 = 90;
/// A leaf certificate is replaced when it has less than this left.
const LEAF_MARGIN_DAYS: i64 = 45;

/// Signs registry tokens and proves that the key may do so.
pub(crate) struct RegistryKeys {
    ca: KeyPair,
    ca_certificate: String,
    leaf: KeyPair,
    signing: EncodingKey,
    verifying: DecodingKey,
    certificate: RwLock<Leaf>,
}

struct Leaf {
    /// The value of the header `x5c`.
    chain: Arc<Vec<String>>,
    renew_at: DateTime<Utc>,
}

impl RegistryKeys {
    /// A key for the authority or the leaf, as PKCS8 PEM.
    pub(crate) fn generate() -> Result<String, Problem> {
        Ok(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(Problem::internal)?.serialize_pem())
    }

    /// The certificate of the authority with this key, as PEM.
    pub(crate) fn certify(ca_key: &str, now: DateTime<Utc>) -> Result<String, Problem> {
        let key = KeyPair::from_pem(ca_key).map_err(Problem::internal)?;
        let mut params = ca_params();
        set_validity(&mut params, now, CA_DAYS);
        params.serial_number = Some(serial());
        Ok(params.self_signed(&key).map_err(Problem::internal)?.pem())
    }

    /// Takes the keys and makes a leaf certificate.
    pub(crate) fn new(
        ca_key: &str,
        ca_certificate: String,
        leaf_key: &str,
        now: DateTime<Utc>,
    ) -> Result<Self, Problem> {
        let ca = KeyPair::from_pem(ca_key).map_err(Problem::internal)?;
        let leaf = KeyPair::from_pem(leaf_key).map_err(Problem::internal)?;
        let certificate = RwLock::new(certify_leaf(&ca, &leaf, now)?);
        Ok(Self {
            signing: EncodingKey::from_ec_der(leaf.serialized_der()),
            verifying: DecodingKey::from_ec_der(leaf.public_key_raw()),
            ca,
            ca_certificate,
            leaf,
            certificate,
        })
    }

    /// The authority's certificate, as PEM.
    pub(crate) fn ca_certificate(&self) -> &str {
        &self.ca_certificate
    }
    /// Signs with ES256.
    pub(crate) fn signing(&self) -> &EncodingKey {
        &self.signing
    }
    /// Verifies ES256.
    pub(crate) fn verifying(&self) -> &DecodingKey {
        &self.verifying
    }

    /// The value of the header `x5c`: base64 of the leaf's DER. The authority itself is left out,
    /// as the registry has it.
    pub(crate) fn chain(&self, now: DateTime<Utc>) -> Result<Arc<Vec<String>>, Problem> {
        {
            let leaf = self.certificate.read().unwrap_or_else(PoisonError::into_inner);
            if now < leaf.renew_at {
                return Ok(Arc::clone(&leaf.chain));
            }
        }
        let renewed = certify_leaf(&self.ca, &self.leaf, now)?;
        let chain = Arc::clone(&renewed.chain);
        *self.certificate.write().unwrap_or_else(PoisonError::into_inner) = renewed;
        Ok(chain)
    }
}

fn certify_leaf(ca: &KeyPair, leaf: &KeyPair, now: DateTime<Utc>) -> Result<Leaf, Problem> {
    let mut params = CertificateParams::default();
    params.distinguished_name = name(LEAF_NAME);
    set_validity(&mut params, now, LEAF_DAYS);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(serial());
    let made = params.signed_by(leaf, &Issuer::new(ca_params(), ca)).map_err(Problem::internal)?;
    Ok(Leaf {
        chain: Arc::new(vec![STANDARD.encode(made.der())]),
        renew_at: now + Duration::days(LEAF_DAYS - LEAF_MARGIN_DAYS),
    })
}

/// What the authority's certificate and the issuer of leaves must agree on.
fn ca_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = name(CA_NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn name(text: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, text);
    name
}

fn serial() -> SerialNumber {
    // 63 bits: a serial number is positive.
    SerialNumber::from(rand::random::<u64>() >> 1)
}

/// Valid from yesterday, for clocks that differ, until `days` from now.
fn set_validity(params: &mut CertificateParams, now: DateTime<Utc>, days: i64) {
    let midnight = |by: i64| {
        let date = (now + Duration::days(by)).date_naive();
        let part = |it: u32| u8::try_from(it).unwrap_or(1);
        date_time_ymd(date.year(), part(date.month()), part(date.day()))
    };
    (params.not_before, params.not_after) = (midnight(-1), midnight(days));
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::{FromDer as _, X509Certificate};

    use super::*;

    fn keys(now: DateTime<Utc>) -> RegistryKeys {
        let (ca, leaf) = (RegistryKeys::generate().unwrap(), RegistryKeys::generate().unwrap());
        RegistryKeys::new(&ca, RegistryKeys::certify(&ca, now).unwrap(), &leaf, now).unwrap()
    }

    fn now() -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + Duration::days(20_000)
    }

    #[test]
    fn a_registry_that_trusts_the_authority_trusts_the_signer() {
        let keys = keys(now());
        let (_, pem) = x509_parser::pem::parse_x509_pem(keys.ca_certificate().as_bytes()).unwrap();
        let ca = pem.parse_x509().unwrap();
        let chain = keys.chain(now()).unwrap();
        let der = STANDARD.decode(&chain[0]).unwrap();
        let (_, leaf) = X509Certificate::from_der(&der).unwrap();
        assert!(ca.is_ca() && !leaf.is_ca());
        assert_eq!(leaf.issuer(), ca.subject());
        ca.verify_signature(None).unwrap();
        leaf.verify_signature(Some(ca.public_key())).unwrap();
        assert!(ca.key_usage().unwrap().unwrap().value.key_cert_sign());
        assert!(leaf.key_usage().unwrap().unwrap().value.digital_signature());
        assert_eq!(leaf.public_key().subject_public_key.data.as_ref(), keys.leaf.public_key_raw());
    }

    #[test]
    fn the_signers_certificate_is_valid_at_any_time_of_a_long_run() {
        let keys = keys(now());
        for days in [0, 1, 44, 45, 46, 300, 3_000] {
            let at = now() + Duration::days(days);
            let chain = keys.chain(at).unwrap();
            let der = STANDARD.decode(&chain[0]).unwrap();
            let (_, leaf) = X509Certificate::from_der(&der).unwrap();
            let end = leaf.validity().not_after.timestamp();
            assert!(leaf.validity().not_before.timestamp() < at.timestamp(), "after {days} days");
            assert!((at + Duration::days(30)).timestamp() < end, "after {days} days");
        }
    }

    #[test]
    fn the_certificate_is_not_made_again_for_each_token() {
        let keys = keys(now());
        assert!(Arc::ptr_eq(&keys.chain(now()).unwrap(), &keys.chain(now() + Duration::days(44)).unwrap()));
    }
}
