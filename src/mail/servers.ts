import { availableParallelism } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import type { RunAs } from '../embedded/run-as.ts'
import { selfMadeCertificate } from './certificate.ts'
import { keepRunning, type Say } from './child.ts'
import type { MailConfig } from './config.ts'
import { toConnection, toKeywords, toParameters, toUri } from './connection.ts'
import { type MailDatabase, prepareDatabase } from './database.ts'
import { findDovecot } from './dovecot.ts'
import { type Folders, makeFolders } from './folders.ts'
import { offeredMechanisms, watchMechanisms } from './mechanisms.ts'
import { findBase, leaveDoveadmKey } from './place.ts'
import { waitForPorts } from './ports.ts'
import { preparePostfix, toListener } from './postfix.ts'
import { openToGroup } from './socket.ts'
import type { Values } from './templates.ts'
import { ensureMailUser, requireUser } from './users.ts'

const deploy = new URL('../../deploy/', import.meta.url)
const packages = 'postfix postfix-pgsql dovecot-core dovecot-pop3d dovecot-imapd dovecot-lmtpd dovecot-pgsql'
const reloadMs = 1_000
const messageSizeLimit = 50 * 1024 * 1024

export interface MailServers {
  stop(): Promise<void>
}

interface Users {
  postfix: RunAs
  dovecot: RunAs
  mail: RunAs
}

/** Starts Postfix and Dovecot on the service's database, and resolves when every port is open. */
export async function startMailServers(config: MailConfig, say: Say): Promise<MailServers> {
  const users = await findUsers(say)
  const database = await prepareDatabase(config)
  const folders = await makeFolders(await findBase(database.dataDir, users.postfix, say), users)
  const socket = await openSocket(database, users.postfix, folders)
  const place = { ...database, readUrl: socket.at(database.readUrl), writeUrl: socket.at(database.writeUrl) }
  const mechanisms = await offeredMechanisms(place.readUrl)
  const values = await collectValues(config, { database: place, folders, users })

  const dovecot = await findDovecot({
    file: config.dovecot,
    deploy,
    etc: folders.etc,
    gid: users.dovecot.gid,
  })
  const write = (list: string) => dovecot.write({ ...values, MECHANISMS: list })
  await write(mechanisms)
  const { etc, local } = folders
  const postfix = await preparePostfix({ deploy, etc, local, gid: users.postfix.gid }, values)
  const children = [keepRunning(dovecot.program, say), keepRunning(postfix, say)] as const
  const watching = new AbortController()
  const changed = async (list: string) => {
    await write(list)
    children[0].signal('SIGHUP')
    // Postfix learns the mechanisms when a process of its own first asks Dovecot: new processes ask the new Dovecot.
    await sleep(reloadMs)
    children[1].signal('SIGHUP')
  }
  // Postfix asks a database that was away nothing for a minute (dict_pgsql.c, RETRY_CONN_INTV); new processes ask at once.
  const recovered = () => children[1].signal('SIGHUP')
  const { signal } = watching
  const watch = watchMechanisms(place.readUrl, mechanisms, { changed, recovered, signal, say })
  const stop = async () => {
    watching.abort()
    await Promise.all([watch, ...children.map((child) => child.stop())])
    await socket.close()
  }
  try {
    await waitForPorts(
      config.host ?? '127.0.0.1',
      Object.values(config.ports).filter((port) => port !== config.ports.doveadm),
    )
    await waitForPorts('127.0.0.1', [config.ports.doveadm])
  } catch (error) {
    await stop()
    throw new Error(`${(error as Error).message} The logs are in ${folders.log}.`)
  }
  return { stop }
}

async function findUsers(say: Say): Promise<Users> {
  const [postfix, dovecot] = [await requireUser('postfix', packages), await requireUser('dovecot', packages)]
  return { postfix, dovecot, mail: await ensureMailUser(say) }
}

/** The way to the embedded Postgres; a database elsewhere is reached as its URL says. */
async function openSocket({ socketDir }: MailDatabase, user: RunAs, { base }: Folders) {
  if (socketDir === undefined) return { at: (url: string) => url, close: async () => {} }
  const { folder, close } = await openToGroup(socketDir, user, `${base}/database`)
  const at = (text: string) => {
    const url = new URL(text)
    url.searchParams.set('host', folder)
    return String(url)
  }
  return { at, close }
}

export interface Parts {
  database: MailDatabase
  folders: Folders
  users: Users
}

/** What deploy/ has in double braces, but for the mechanisms, which change. */
export async function collectValues(
  config: MailConfig,
  { database, folders, users }: Parts,
): Promise<Values> {
  const { certFile, keyFile } =
    config.certFile !== undefined && config.keyFile !== undefined
      ? { certFile: config.certFile, keyFile: config.keyFile }
      : await selfMadeCertificate(folders.etc, database.mailServer)
  const [read, write] = [toConnection(database.readUrl), toConnection(database.writeUrl)]
  const { ports, host } = config
  return {
    MAIL_SERVER: database.mailServer,
    ETC_DIR: folders.etc,
    RUN_DIR: folders.run,
    STATE_DIR: folders.state,
    SOCKET_DIR: folders.sockets,
    SPOOL_DIR: folders.spool,
    POSTFIX_DATA_DIR: folders.postfixData,
    LOG_DIR: folders.log,
    MAIL_DIR: folders.mail,
    LOCAL_DIR: folders.local,
    CERT_FILE: certFile,
    KEY_FILE: keyFile,
    MAIL_UID: users.mail.uid,
    DATABASE_GROUP: users.postfix.name,
    READ_URI: toUri(read),
    READ_DATABASE: read.dbname ?? '',
    READ_CONNECT: toKeywords(read),
    READ_PARAMETERS: toParameters(read),
    WRITE_CONNECT: toKeywords(write),
    WRITE_PARAMETERS: toParameters(write),
    PROCESSORS: availableParallelism(),
    MESSAGE_SIZE_LIMIT: messageSizeLimit,
    LISTEN: host ?? '*, ::',
    SMTP_LISTEN: toListener(host, ports.smtp),
    SUBMISSION_LISTEN: toListener(host, ports.submission),
    POP3_PORT: ports.pop3,
    POP3S_PORT: ports.pop3s,
    IMAP_PORT: ports.imap,
    IMAPS_PORT: ports.imaps,
    DOVEADM_PORT: ports.doveadm,
    DOVEADM_KEY: await leaveDoveadmKey(config.dataDir, ports.doveadm, folders.mail),
  }
}
