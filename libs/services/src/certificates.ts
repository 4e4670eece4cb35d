/** A certificate authority for one test, and what it signed. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const DAYS = '30';

interface KeyPair {
  readonly certFile: string;
  /** PKCS #8, not encrypted. */
  readonly keyFile: string;
  /** Key and certificate in one file, as Kafka's PEM key store wants it. */
  readonly bundleFile: string;
}

/** Files in PEM. */
export interface Certificates {
  readonly caFile: string;
  /** For `localhost` and 127.0.0.1. */
  readonly server: KeyPair;
  /** CN=weir-client. */
  readonly client: KeyPair;
}

/** Makes them with openssl; throws when there is none (`available('openssl')`). */
export function createCertificates(folder: string): Certificates {
  mkdirSync(folder, { recursive: true });
  const caFile = join(folder, 'ca.pem');
  const caKeyFile = join(folder, 'ca.key');
  openssl(
    ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', DAYS, '-subj', '/CN=weir-test-ca'],
    ...['-keyout', caKeyFile, '-out', caFile],
  );

  function sign(name: string, extensions: readonly string[]): KeyPair {
    const certFile = join(folder, `${name}.pem`);
    const keyFile = join(folder, `${name}.key`);
    const bundleFile = join(folder, `${name}-bundle.pem`);
    const extensionFile = join(folder, `${name}.ext`);
    const requestFile = join(folder, `${name}.csr`);
    writeFileSync(extensionFile, extensions.join('\n'));
    openssl(
      ...['req', '-newkey', 'rsa:2048', '-nodes', '-subj', `/CN=weir-${name}`],
      ...['-keyout', keyFile, '-out', requestFile],
    );
    openssl(
      ...['x509', '-req', '-in', requestFile, '-CA', caFile, '-CAkey', caKeyFile, '-CAcreateserial', '-days', DAYS],
      ...['-extfile', extensionFile, '-out', certFile],
    );
    writeFileSync(bundleFile, readFileSync(keyFile, 'utf8') + readFileSync(certFile, 'utf8'));
    return { certFile, keyFile, bundleFile };
  }

  return {
    caFile,
    server: sign('server', ['subjectAltName=DNS:localhost,IP:127.0.0.1', 'extendedKeyUsage=serverAuth,clientAuth']),
    client: sign('client', ['extendedKeyUsage=clientAuth']),
  };
}

function openssl(...args: readonly string[]): void {
  const { exitCode, stderr } = Bun.spawnSync(['openssl', ...args]);
  if (exitCode !== 0) throw new Error(`openssl ${args[0]} failed: ${stderr.toString()}`);
}
