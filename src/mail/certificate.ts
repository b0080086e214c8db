import { execFile } from 'node:child_process'
import { access, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

export interface Certificate {
  certFile: string
  keyFile: string
}

/** The one of the last start, else a new one that nobody vouches for: enough to try mail programs with. */
export async function selfMadeCertificate(folder: string, hostName: string): Promise<Certificate> {
  const certFile = join(folder, 'self-made-cert.pem')
  const keyFile = join(folder, 'self-made-key.pem')
  if (await exists(certFile)) return { certFile, keyFile }
  await promisify(execFile)('openssl', [
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:prime256v1',
    '-nodes', // the servers start without a person
    '-days',
    '3650',
    '-subj',
    `/CN=${hostName.slice(0, 64)}`, // RFC 5280 appendix A.1: ub-common-name
    '-addext',
    `subjectAltName=DNS:${hostName}`,
    '-keyout',
    keyFile,
    '-out',
    `${certFile}.draft`,
  ])
  await rename(`${certFile}.draft`, certFile)
  return { certFile, keyFile }
}

function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  )
}
