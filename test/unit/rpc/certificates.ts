/** Certificates as operators have them made, right ones and wrong ones, for one test. Made in memory with the runtime's own Web Crypto. */
// @peculiar/x509 2.2.0 finds its parts through tsyringe, which wants this polyfill before it.
import "reflect-metadata";
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  type X509Certificate,
  X509CertificateGenerator,
} from "@peculiar/x509";

const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const DAY_MS = 86_400_000;

/** A certificate and its key, as PEM texts. */
export interface Identity {
  readonly cert: string;
  readonly key: string;
}

export interface IdentityOptions {
  /** DNS names and IP addresses. Default: `localhost` and 127.0.0.1. */
  readonly names?: readonly string[];
  readonly use?: "server" | "client";
  /** Its time is over since a day. */
  readonly expired?: boolean;
  /** Its time begins in a day. */
  readonly early?: boolean;
}

export interface Authority {
  readonly cert: string;
  issue(options?: IdentityOptions): Promise<Identity>;
}

let serial = 1;

export async function createAuthority(name: string): Promise<Authority> {
  const keys = await newKeys();
  const root = await X509CertificateGenerator.createSelfSigned({
    serialNumber: nextSerial(),
    name: `CN=${name}`,
    ...times({}),
    signingAlgorithm: algorithm,
    keys,
    extensions: [
      new BasicConstraintsExtension(true, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
    ],
  });
  return {
    cert: root.toString("pem"),
    issue: async (options = {}) => {
      const own = await newKeys();
      const certificate = await X509CertificateGenerator.create({
        serialNumber: nextSerial(),
        subject: "CN=issued",
        issuer: `CN=${name}`,
        ...times(options),
        signingAlgorithm: algorithm,
        publicKey: own.publicKey,
        signingKey: keys.privateKey,
        extensions: extensions(options),
      });
      return identity(certificate, own);
    },
  };
}

/** Nobody but itself vouches for it. */
export async function selfSigned(options: IdentityOptions = {}): Promise<Identity> {
  const keys = await newKeys();
  const certificate = await X509CertificateGenerator.createSelfSigned({
    serialNumber: nextSerial(),
    name: "CN=self-signed",
    ...times(options),
    signingAlgorithm: algorithm,
    keys,
    extensions: extensions(options),
  });
  return identity(certificate, keys);
}

/** All that a test of refusals needs. */
export interface Certificates {
  readonly authority: Authority;
  readonly other: Authority;
  readonly right: Identity;
  readonly client: Identity;
}

export async function makeCertificates(): Promise<Certificates> {
  const [authority, other] = await Promise.all([
    createAuthority("StreamHouse test"),
    createAuthority("Another authority"),
  ]);
  const [right, client] = await Promise.all([
    authority.issue(),
    authority.issue({ use: "client" }),
  ]);
  return { authority, other, right, client };
}

function newKeys(): Promise<CryptoKeyPair> {
  return crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
}

function nextSerial(): string {
  return (serial++).toString(16).padStart(4, "0");
}

function times({ expired = false, early = false }: IdentityOptions) {
  const now = Date.now();
  return {
    notBefore: new Date(early ? now + DAY_MS : now - 3 * DAY_MS),
    notAfter: new Date(expired ? now - DAY_MS : now + 30 * DAY_MS),
  };
}

function extensions({ names, use = "server" }: IdentityOptions): Extension[] {
  const serverNames = names ?? ["localhost", "127.0.0.1"];
  const isServer = use === "server";
  const usage = isServer ? ExtendedKeyUsage.serverAuth : ExtendedKeyUsage.clientAuth;
  const alternatives = serverNames.map((value) => ({
    type: /^[\d.]+$|:/.test(value) ? ("ip" as const) : ("dns" as const),
    value,
  }));
  return [
    new BasicConstraintsExtension(false, undefined, true),
    new ExtendedKeyUsageExtension([usage]),
    ...(isServer ? [new SubjectAlternativeNameExtension(alternatives)] : []),
  ];
}

async function identity(certificate: X509Certificate, keys: CryptoKeyPair): Promise<Identity> {
  const key = await crypto.subtle.exportKey("pkcs8", keys.privateKey);
  return {
    cert: `${certificate.toString("pem")}\n`,
    key: `${PemConverter.encode(key, "PRIVATE KEY")}\n`,
  };
}
