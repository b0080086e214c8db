import pg from 'pg'
import { mailLogins } from './names.ts'

/** The URL of the same database for one of the mail servers' logins. */
export function mailUrl(adminUrl: string, login: keyof typeof mailLogins): string {
  const url = new URL(adminUrl)
  url.username = mailLogins[login].name
  url.password = mailLogins[login].password
  return String(url)
}

/** A connection as one of the mail servers' logins. */
export async function connectAs(adminUrl: string, login: keyof typeof mailLogins): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: mailUrl(adminUrl, login) })
  client.on('error', () => undefined) // the test's database may be dropped before the connection is closed
  await client.connect()
  return client
}
