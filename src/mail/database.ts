import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { locate } from '../embedded/place.ts'
import { databaseUrl } from '../embedded/server.ts'
import { mailReadRole, mailWriteRole, withClient } from '../roles.ts'
import type { MailConfig } from './config.ts'

export interface MailDatabase {
  readUrl: string
  writeUrl: string
  /** The host name that clients are told. */
  mailServer: string
  /** Where the embedded Postgres has its socket, which the mail servers have to reach. */
  socketDir: string | undefined
  /** Where everything of this installation lies. */
  dataDir: string
}

/** Waits for the service's database, gives the mail servers their logins, and tells it the ports that clients use. */
export async function prepareDatabase(config: MailConfig): Promise<MailDatabase> {
  const { url, dataDir, socketDir } = await findOwner(config)
  await waitForSchema(url)
  return withClient(url, async (client) => {
    const mailServer = await publishPorts(client, config)
    if (config.readUrl !== undefined && config.writeUrl !== undefined) {
      return { readUrl: config.readUrl, writeUrl: config.writeUrl, mailServer, socketDir, dataDir }
    }
    const readUrl = await setPassword(client, mailReadRole, url)
    const writeUrl = await setPassword(client, mailWriteRole, url)
    return { readUrl, writeUrl, mailServer, socketDir, dataDir }
  })
}

async function findOwner({ ownerUrl, dataDir }: MailConfig) {
  if (ownerUrl !== undefined) return { url: ownerUrl, dataDir, socketDir: undefined }
  const place = await locate(dataDir).catch(() => {
    throw new Error(
      `There is no folder ${dataDir}: start the service first (npm start), or set DATABASE_URL.`,
    )
  })
  const password = await readFile(join(place.dataDir, 'postgres-password'), 'utf8').catch(() => {
    throw new Error(`There is no database in ${place.dataDir}: start the service first, or set DATABASE_URL.`)
  })
  return { url: databaseUrl({ socketDir: place.socketDir, password: password.trim() }), ...place }
}

const patienceMs = 30_000
const pauseMs = 500

/** At a start of everything at once the service may migrate a little later. */
async function waitForSchema(url: string): Promise<void> {
  for (const until = Date.now() + patienceMs; ; await sleep(pauseMs)) {
    const missing = await withClient(url, (client) =>
      client.query("select 'mail.offers_cram_md5'::regproc"),
    ).then(
      () => undefined,
      (error: Error) => error.message,
    )
    if (missing === undefined) return
    if (Date.now() > until) {
      throw new Error(
        `The service's database cannot be used: ${missing}. Start the service first (npm start).`,
      )
    }
  }
}

/** A new password at each start, which only the configuration of the mail servers knows. */
async function setPassword(client: pg.Client, role: string, ownerUrl: string): Promise<string> {
  const password = randomBytes(24).toString('base64url')
  await client.query(`alter role ${role} password ${pg.escapeLiteral(password)}`)
  const url = new URL(ownerUrl.replace('@/', '@localhost/'))
  url.username = role
  url.password = password
  return String(url)
}

/** Settings that nobody has set get what clients have to enter. */
async function publishPorts(client: pg.Client, { ports }: MailConfig): Promise<string> {
  await client.query(
    `update app.settings
     set pop3s_port = coalesce(pop3s_port, $1), imaps_port = coalesce(imaps_port, $2),
       submission_port = coalesce(submission_port, $3), version = gen_random_uuid(), updated_at = now()
     where pop3s_port is null or imaps_port is null or submission_port is null`,
    [ports.pop3s, ports.imaps, ports.submission],
  )
  const { rows } = await client.query<{ mail_server: string | null }>('select mail_server from app.settings')
  return rows[0]?.mail_server ?? 'localhost'
}
