import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { promisify } from 'node:util'
import type { Service } from './service.ts'

export interface Command {
  file: string
  args: string[]
  cwd: string
  env?: Record<string, string>
}

/** Runs a compiler or a client; what it prints. */
export async function run({ file, args, cwd, env }: Command): Promise<string> {
  const options = { cwd, env: { ...process.env, ...env }, timeout: 600_000, maxBuffer: 64 * 1024 * 1024 }
  try {
    return (await promisify(execFile)(file, args, options)).stdout
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string }
    throw new Error(`${file} ${args.join(' ')}\n${stdout}\n${stderr}`, { cause: error })
  }
}

/**
 * Has a program written with a generated client walk through the service: two domains and three mailboxes are created,
 * both logins read, a taken name is refused, a mailbox is locked, the list read in pages of two and a mailbox deleted.
 * The program prints what it saw as JSON; the service is asked whether it is so.
 */
export async function walk(service: Service, command: Command): Promise<void> {
  const name = `w${randomUUID().slice(0, 8)}`
  const [domain, other] = [`${name}.example`, `other-${name}.example`]
  const env = {
    MAILWRIGHT_URL: service.url,
    MAILWRIGHT_TOKEN: await service.token(),
    DOMAIN: domain,
    OTHER_DOMAIN: other,
    NAME: name,
  }
  const printed = await run({ ...command, env: { ...command.env, ...env } })
  const names = [`${name}a`, `${name}b`, `${name}c`]
  assert.deepEqual(JSON.parse(printed), {
    domain,
    quota: 5_000_000_000,
    quota_after_reset: null,
    clear_text: `${names[0]}@${domain}`,
    secure_password: names[0],
    mechanisms: ['SCRAM-SHA-256'],
    password_length: 29,
    collision: { status: 409, type: '/problems/name-taken', address: `${names[0]}@${domain}` },
    locked: true,
    login_blocked_by: ['mailbox'],
    pages: [names.slice(0, 2), names.slice(2)],
    after_delete: { status: 404, type: '/problems/mailbox-not-found' },
  })
  const { rows } = await service.admin.query(
    "select name, locked, state = 'deleted' as deleted from app.mailboxes where domain = $1 order by name",
    [domain],
  )
  assert.deepEqual(rows, [
    { name: names[0], locked: true, deleted: false },
    { name: names[1], locked: false, deleted: false },
    { name: names[2], locked: false, deleted: true },
  ])
}
