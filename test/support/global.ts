import pg from 'pg'
import { startTemporaryPostgres, type TemporaryPostgres } from '../../src/embedded.ts'
import { migrate } from '../../src/migrations.ts'
import { serviceLogin, templateDatabase } from './names.ts'

let postgres: TemporaryPostgres | undefined

/**
 * One Postgres for the whole run, with a migrated template that each test file clones. TEST_POSTGRES_BIN names the
 * binaries of another version; TEST_DATABASE_URL a server that runs already (a superuser's URL).
 */
export async function globalSetup(): Promise<void> {
  const { TEST_POSTGRES_BIN: binDir, TEST_DATABASE_URL: running } = process.env
  postgres = running ? undefined : await startTemporaryPostgres(binDir ? { binDir } : {})
  const url = running ?? postgres?.url ?? ''
  process.env.TEST_POSTGRES_URL = url
  await makeTemplate(url)
}

export async function globalTeardown(): Promise<void> {
  await postgres?.stop()
}

async function makeTemplate(url: string): Promise<void> {
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
}
