import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import { createIssuer } from '../../src/issuer.ts'
import { loadOrCreateKeys } from '../../src/keys.ts'
import { type MailServers, startMailServers } from './mail-servers.ts'
import { type Service, startService } from './service.ts'

type Environment = Record<string, string>

/** A service with an empty database and its job worker, for the commands of one page; what they find it by. */
export async function servePage(text: string) {
  const provider = text.includes('$AUTH_ISSUER') ? await startProvider() : undefined
  const { env, service, dataDir } = await startWithKeys(provider)
  after(() => rm(dataDir, { recursive: true, force: true, maxRetries: 5 }))
  return {
    env: { ...env, ...provider?.env } as Environment,
    ownerUrl: new URL(String(service.admin.options.connectionString)),
  }
}

/** One service and one set of mail servers for the pages that need these; `empty` is called before each. */
export async function serveMailPages() {
  const { service, env, dataDir } = await startWithKeys()
  const servers = await startMailServers(service, dataDir) // which removes the folder at the end
  return {
    service,
    servers,
    env: { ...env, ...(await mailEnvironment(servers)) },
    empty: () => purgeAll(service),
  }
}

async function startWithKeys(provider?: { issuer: string; audience: string }) {
  const dataDir = await mkdtemp(join(tmpdir(), 'mailwright-page-'))
  const keys = await loadOrCreateKeys(join(dataDir, 'token-key.json'))
  const jobs = { dataDir, doveadmUrl: undefined, doveadmKeyFile: undefined }
  const service = await startService({ keys, jobs, ...(provider && { issuer: createIssuer(provider) }) })
  const env = {
    MAILWRIGHT_URL: service.url,
    MAILWRIGHT_DATA_DIR: dataDir,
    TOKEN: await service.token(),
    TMPDIR: dataDir,
    KEYS: dataDir,
  }
  return { service, env, dataDir }
}

async function startProvider() {
  const { startOidcProvider } = await import('./oidc-provider.ts') // which prints warnings
  const provider = await startOidcProvider()
  after(provider.stop)
  const [issuer, audience] = [provider.issuer, 'https://mail.example/']
  const env = { AUTH_ISSUER: issuer, AUTH_AUDIENCE: audience, CLIENT_ID: 'hr', CLIENT_SECRET: 'secret' }
  return { issuer, audience, env }
}

/** Where they are, and how Postfix finds the database: what a page says by a variable with a default. */
async function mailEnvironment({ ports, dataDir }: MailServers): Promise<Environment> {
  const mail = join(dataDir, 'mail')
  const map = await readFile(join(mail, 'etc', 'pgsql-domain.cf'), 'utf8')
  const [, readUrl = ''] = /^hosts = (.*)$/m.exec(map) ?? []
  const [, database = ''] = /^dbname = (.*)$/m.exec(map) ?? []
  return {
    SUBMISSION_PORT: String(ports.submission),
    POP3S_PORT: String(ports.pop3s),
    IMAPS_PORT: String(ports.imaps),
    IMAP_PORT: String(ports.imap),
    MAIL_DIR: mail,
    MAIL_CONFIG: join(mail, 'etc'),
    READ_URL: readUrl,
    DATABASE: database,
    MAPS: join(dataDir, 'maps'),
  }
}

async function purgeAll(service: Service): Promise<void> {
  const admin = await service.as()
  const { body } = await admin.get('/v1/domains?limit=1000')
  for (const { name } of body.items as { name: string }[]) {
    const { body: domain } = await admin.get(`/v1/domains/${name}`)
    const query = `mailboxes=delete&accounts=delete&purge=true&expect=${domain.mailbox_count}`
    const { status } = await admin.delete(`/v1/domains/${name}?${query}`)
    if (status !== 204) throw new Error(`${name} is still there: ${status}`)
  }
}
