//! The fleet's CA: one P-256 key, which makes every certificate of the fleet.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType,
    SerialNumber,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::subject::{Subject, uri};
use super::{DAY, Error};

/// Days that the CA itself lasts.
const CA_DAYS: u64 = 20 * 365;
/// A clock that is a little behind must not refuse a new certificate.
const EARLIER: u64 = 3600;

/// The fleet's CA.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
}

impl std::fmt::Debug for Ca {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ca({})", self.hash())
    }
}

/// A certificate that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// PEM.
    pub pem: String,
    /// Its number, base 16.
    pub serial: String,
    /// Seconds since 1970: its end.
    pub until: u64,
}

/// A certificate request that was checked: whoever sent it has the key.
pub(super) struct Request {
    key: rcgen::PublicKey,
    /// BLAKE3 of the public key, base 16.
    pub(super) hash: String,
}

impl Request {
    /// Reads PKCS #10, PEM. Only its key counts: what it asks for besides is not looked at.
    pub(super) fn read(pem: &str) -> Result<Self, Error> {
        let refuse = |what| Error::Request { what };
        if pem.len() > 16_384 {
            return Err(refuse("is longer than 16 KiB"));
        }
        let params = CertificateSigningRequestParams::from_pem(pem)
            .map_err(|_| refuse("is not PKCS #10 in PEM, signed by its own key"))?;
        let key = params.public_key;
        let taken = [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ED25519];
        if !taken.contains(&key.algorithm()) {
            return Err(refuse(
                "has a key of another kind than ECDSA P-256 and Ed25519",
            ));
        }
        let hash = blake3::hash(key.der_bytes()).to_hex().to_string();
        Ok(Self { key, hash })
    }
}

impl Ca {
    /// A new one, with its key as PEM, which is the caller's to keep.
    pub fn make(fleet: &str, now: u64) -> Result<(Self, String), Error> {
        let key = KeyPair::generate().map_err(failed("make the CA's key"))?;
        let mut params = dated(now, CA_DAYS * DAY)?;
        params
            .distinguished_name
            .push(DnType::CommonName, format!("Changeover fleet {fleet}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let made = params
            .self_signed(&key)
            .map_err(failed("make the CA's certificate"))?;
        let secret = key.serialize_pem();
        Ok((Self::load(&made.pem(), &secret)?, secret))
    }

    /// The CA of a certificate and its key, both PEM.
    pub fn load(pem: &str, key: &str) -> Result<Self, Error> {
        let key = KeyPair::from_pem(key).map_err(failed("read the CA's key"))?;
        let issuer =
            Issuer::from_ca_cert_pem(pem, key).map_err(failed("read the CA's certificate"))?;
        let certificate =
            CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| Error::File {
                path: "the CA's certificate".to_owned(),
                what: format!("cannot be read: {error}"),
            })?;
        Ok(Self {
            issuer,
            certificate,
            pem: pem.to_owned(),
        })
    }

    /// Its certificate, PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Its certificate, DER.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// BLAKE3 of the certificate's DER, base 16: what an enrolment token carries.
    pub fn hash(&self) -> String {
        blake3::hash(&self.certificate).to_hex().to_string()
    }

    /// A certificate for a server of these host names and addresses, with its new key, PEM.
    pub(super) fn server(
        &self,
        names: &[String],
        now: u64,
        life: u64,
    ) -> Result<(Issued, String), Error> {
        let key = KeyPair::generate().map_err(failed("make the server's key"))?;
        let mut params = dated(now, life)?;
        let named = CertificateParams::new(names).map_err(failed("take the server's names"))?;
        params.subject_alt_names = named.subject_alt_names;
        params
            .distinguished_name
            .push(DnType::CommonName, "Changeover master");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let issued = self.issue(params, &key, now + life)?;
        Ok((issued, key.serialize_pem()))
    }

    /// A certificate for a node or an operator.
    pub(super) fn client(
        &self,
        subject: &Subject,
        generation: u64,
        request: &Request,
        (now, life): (u64, u64),
    ) -> Result<Issued, Error> {
        let mut params = dated(now, life)?;
        let name = match subject {
            Subject::Node(name) => name.to_string(),
            Subject::Operator(name) => name.to_string(),
        };
        params.distinguished_name.push(DnType::CommonName, name);
        let uri = uri(subject, generation)
            .try_into()
            .map_err(failed("write the certificate's name"))?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params, &request.key, now + life)
    }

    fn issue(
        &self,
        mut params: CertificateParams,
        key: &impl PublicKeyData,
        until: u64,
    ) -> Result<Issued, Error> {
        let mut serial = [0; 16];
        getrandom::fill(&mut serial).map_err(Error::Random)?;
        // Positive, and of one length.
        serial[0] = serial[0] & 0x3f | 0x40;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let made = params
            .signed_by(key, &self.issuer)
            .map_err(failed("make a certificate"))?;
        Ok(Issued {
            pem: made.pem(),
            serial: super::secret::hex(&serial),
            until,
        })
    }
}

fn dated(now: u64, life: u64) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::new(Vec::new()).map_err(failed("begin a certificate"))?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(now.saturating_sub(EARLIER));
    params.not_after = epoch + Duration::from_secs(now + life);
    Ok(params)
}

fn failed(doing: &'static str) -> impl Fn(rcgen::Error) -> Error {
    move |source| Error::Certificate { doing, source }
}
