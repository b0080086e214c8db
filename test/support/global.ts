import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { startTemporaryPostgres, type TemporaryPostgres } from '../../src/embedded.ts'
import { migrate } from '../../src/migrations.ts'
import { allTests, declaredAnswers, findGaps, readSeen, variable } from './contract-coverage.ts'
import { findDovecot24 } from './debian-13.ts'
import { mailLogins, serviceLogin, templateDatabase } from './names.ts'
import { operations } from './operations.ts'

let postgres: TemporaryPostgres | undefined
let coverage: string | undefined

/**
 * One Postgres for the whole run, with a migrated template that each test file clones. TEST_POSTGRES_BIN names the
 * binaries of another version; TEST_DATABASE_URL a server that runs already, as a superuser or a role that may create
 * databases and roles, as managed Postgres gives (docs/scaling.md says which tests that one cannot pass). With MAIL_TEST_24=1 the
 * Dovecot of all tests is a 2.4 of Debian 13 instead of the installed one.
 */
export async function globalSetup(): Promise<void> {
  const { TEST_POSTGRES_BIN: binDir, TEST_DATABASE_URL: running } = process.env
  postgres = running ? undefined : await startTemporaryPostgres(binDir ? { binDir } : {})
  const url = running ?? postgres?.url ?? ''
  process.env.TEST_POSTGRES_URL = url
  await makeTemplate(url)
  if (process.env.MAIL_TEST_24 === '1') process.env.MAIL_TEST_DOVECOT = await findDovecot24()
  if (runsAll()) await collectAnswers()
}

export async function globalTeardown(): Promise<void> {
  await postgres?.stop()
  if (coverage !== undefined) await judgeAnswers(coverage)
}

/** As `npm test` does; a single file cannot be asked to see every answer that the document declares. */
function runsAll(): boolean {
  const narrowed = process.execArgv.some((flag) => /^--test-(name|skip|shard|only)/.test(flag))
  return process.argv.includes(allTests) && !narrowed
}

async function collectAnswers(): Promise<void> {
  coverage = await mkdtemp(join(tmpdir(), 'mailwright-answers-'))
  process.env[variable] = join(coverage, 'seen')
  await writeFile(join(coverage, 'seen'), '')
}

async function judgeAnswers(folder: string): Promise<void> {
  const gaps = findGaps(declaredAnswers(operations), readSeen(join(folder, 'seen')))
  await rm(folder, { recursive: true })
  if (gaps.length === 0) return
  console.error(`The tests and openapi/openapi.json differ:\n${gaps.join('\n')}`)
  process.exitCode = 1
}

/** What each test file clones, on a server that has none of it. */
export async function makeTemplate(url: string): Promise<void> {
  const admin = new pg.Client(url)
  await admin.connect()
  await admin.query(`drop database if exists ${templateDatabase}`)
  await admin.query(`create database ${templateDatabase}`)
  await admin.query(`drop role if exists ${serviceLogin.name}`)
  await admin.query(`create role ${serviceLogin.name} login password '${serviceLogin.password}'`)
  await admin.end()
  const template = new URL(url)
  template.pathname = `/${templateDatabase}`
  await migrate({ ownerUrl: String(template), service: { role: serviceLogin.name } })
  await setMailPasswords(url)
  await joinLogins(url)
}

/** So that whoever is no superuser sees what the connections of these wait for, and may end them with their database. */
async function joinLogins(url: string): Promise<void> {
  const admin = new pg.Client(url)
  await admin.connect()
  const { rows } = await admin.query('select from pg_roles where rolname = current_user and rolsuper')
  const logins = [serviceLogin.name, ...Object.values(mailLogins).map(({ name }) => name)]
  if (rows.length === 0) await admin.query(`grant ${logins.join(', ')} to current_user`)
  await admin.end()
}

async function setMailPasswords(url: string): Promise<void> {
  const admin = new pg.Client(url)
  await admin.connect()
  for (const { name, password } of Object.values(mailLogins)) {
    await admin.query(`alter role ${name} password '${password}'`)
  }
  await admin.end()
}
