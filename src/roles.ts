import { randomBytes } from 'node:crypto'
import pg from 'pg'

/** Holds what the running service may do; the login role of DATABASE_URL is a member. */
export const serviceRole = 'mailwright_service'
/** Owns the functions that touch verifiers; cannot log in. */
export const definerRole = 'mailwright_definer'
/** What Postfix and Dovecot read with; the migrations let it execute their functions, and nothing else. */
export const mailReadRole = 'mail_read'
/** What Dovecot writes usage and last logins with. */
export const mailWriteRole = 'mail_write'

const insufficientPrivilege = '42501'
const madeMeanwhile = new Set(['42710', '23505']) // duplicate_object; two starts at once

/** The login of the running service. Its password is needed only where the role is to be made. */
export interface ServiceLogin {
  role: string
  password?: string
}

/**
 * How each role is made. The mail servers speak LATIN1, in which every sequence of bytes is text: with UTF-8 a
 * stray byte in an address would be an error of the database. Without a password the last two cannot log in
 * but as a matching user of the operating system.
 */
const creation: Record<string, readonly string[]> = {
  [serviceRole]: [`create role ${serviceRole} nologin`],
  [definerRole]: [`create role ${definerRole} nologin`],
  [mailReadRole]: [
    `create role ${mailReadRole} login`,
    `alter role ${mailReadRole} set default_transaction_read_only = on`,
    `alter role ${mailReadRole} set statement_timeout = '5s'`,
    `alter role ${mailReadRole} set jit = off`,
    `alter role ${mailReadRole} set client_encoding = 'LATIN1'`,
  ],
  [mailWriteRole]: [
    `create role ${mailWriteRole} login`,
    `alter role ${mailWriteRole} set statement_timeout = '5s'`,
    `alter role ${mailWriteRole} set client_encoding = 'LATIN1'`,
  ],
}

/** The statements an administrator runs once where the migrating role may not create roles. */
export function roleStatements(
  owner: string,
  service: string,
  missing: readonly string[] = Object.keys(creation),
): string[] {
  const id = pg.escapeIdentifier
  return [
    ...missing.flatMap((role) => creation[role] ?? `create role ${id(role)} login password '…'`),
    `grant ${definerRole} to ${id(owner)}`,
    ...(service === owner ? [] : [`grant ${serviceRole} to ${id(service)}`]),
  ]
}

/**
 * Makes the roles that the migrations grant to, and the service's login, where they are missing. Works for a
 * superuser and for a role with CREATEROLE (as managed Postgres gives); otherwise says what an administrator has to run.
 */
export async function prepareRoles(client: pg.Client, service: ServiceLogin): Promise<void> {
  const { rows } = await client.query<{ owner: string; missing: string[] }>(
    `select current_user as owner,
       array(
         select r from unnest($1::text[]) with ordinality as t (r, place)
         where not exists (select from pg_roles where rolname = r)
         order by place
       ) as missing`,
    [[...Object.keys(creation), service.role]],
  )
  const { owner, missing } = rows[0]!
  try {
    for (const role of missing)
      await createRole(client, role, role === service.role ? service.password : undefined)
    await grantMembership(client, definerRole, owner, 'set')
    if (service.role !== owner) await grantMembership(client, serviceRole, service.role, 'usage')
  } catch (error) {
    if ((error as pg.DatabaseError).code !== insufficientPrivilege) throw error
    throw new Error(
      `The role ${owner} may not prepare the database roles. Let an administrator run once:\n` +
        `${roleStatements(owner, service.role, missing).join(';\n')};`,
      { cause: error },
    )
  }
}

async function createRole(client: pg.Client, role: string, password: string | undefined): Promise<void> {
  const login = password === undefined ? 'nologin' : `login password ${pg.escapeLiteral(password)}`
  // several statements in one query are one transaction: a role that exists has its settings too
  const statements = creation[role] ?? [`create role ${pg.escapeIdentifier(role)} ${login}`]
  await client.query(statements.join(';')).catch((error: pg.DatabaseError) => {
    if (!madeMeanwhile.has(error.code ?? '')) throw error
  })
}

/**
 * `set`: to hand functions over to the role. Since PostgreSQL 16 whoever makes a role is a member at once, but one
 * that may neither do that nor use its rights (CREATE ROLE, createrole_self_grant).
 */
async function grantMembership(
  client: pg.Client,
  role: string,
  member: string,
  need: 'set' | 'usage',
): Promise<void> {
  const { rows } = await client.query<{ granted: boolean }>(
    `select pg_has_role($1, $2,
       case when $3 = 'set' and current_setting('server_version_num')::int < 160000 then 'member' else $3 end) as granted`,
    [member, role, need],
  )
  if (rows[0]?.granted) return
  await client.query(`grant ${pg.escapeIdentifier(role)} to ${pg.escapeIdentifier(member)}`)
}

const embeddedService = 'mailwright'

/** The service's own login in the embedded Postgres, with a password that only this start knows. */
export async function createServiceLogin(ownerUrl: string): Promise<{ url: string; role: string }> {
  const password = randomBytes(24).toString('base64url')
  await withClient(ownerUrl, async (client) => {
    const { rows } = await client.query('select from pg_roles where rolname = $1', [embeddedService])
    const verb = rows.length === 0 ? 'create' : 'alter'
    await client.query(`${verb} role ${embeddedService} login password ${pg.escapeLiteral(password)}`)
  })
  const url = new URL(ownerUrl)
  url.username = embeddedService
  url.password = password
  return { url: String(url), role: embeddedService }
}

/** Whether the role of the URL could read verifiers and change the schema. */
export function ownsSchema(url: string): Promise<boolean> {
  return withClient(url, async (client) => {
    const { rows } = await client.query<{ owns: boolean }>(
      `select pg_has_role(current_user, nspowner, 'member') as owns from pg_namespace where nspname = 'app'`,
    )
    return rows[0]?.owns ?? false
  })
}

export async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url, application_name: 'mailwright' })
  client.on('error', () => {}) // its loss reaches the statement; unheard as an event it would end the process
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

/** Who a URL logs in as. */
export function loginOf(url: string): ServiceLogin {
  const { user = '', password } = new pg.Client(url)
  return { role: user, ...(typeof password === 'string' && { password }) }
}
