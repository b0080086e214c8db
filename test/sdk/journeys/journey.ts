/** A program that uses the packed client; see test/support/sdk-journey.ts. */
import { env } from 'node:process'
import {
  createClient,
  createDomain,
  createMailbox,
  deleteMailbox,
  getMailbox,
  isProblem,
  listMailboxes,
  type ProblemError,
  updateDomain,
  updateMailbox,
} from '@mailwright/client'

const { MAILWRIGHT_URL: url = '', MAILWRIGHT_TOKEN: token = '' } = env
const { DOMAIN: domain = '', OTHER_DOMAIN: other = '', NAME: name = '' } = env
const client = createClient({ url, token })

const create = (address: string) =>
  createMailbox({ client, body: { address, generate_password: true } }).then(({ data }) => data)

async function refusal(request: Promise<unknown>): Promise<ProblemError> {
  const error = await request.then(
    () => undefined,
    (error: unknown) => error,
  )
  if (isProblem(error, 'name-taken', 'mailbox-not-found')) return error
  throw new Error('not refused', { cause: error })
}

async function readPages(): Promise<string[][]> {
  const pages: string[][] = []
  let cursor: string | null | undefined
  while (cursor !== null) {
    const query = { domain, limit: 2, ...(cursor !== undefined && { cursor }) }
    const { data } = await listMailboxes({ client, query })
    pages.push(data.items.map((mailbox) => mailbox.name))
    cursor = data.next
  }
  return pages
}

const made = await createDomain({ client, body: { name: domain, default_quota_bytes: 5_000_000_000 } })
const reset = await updateDomain({ client, path: { domain }, body: { default_quota_bytes: null } })
await createDomain({ client, body: { name: other } })
const first = await create(`${name}a@${domain}`)
const collision = await refusal(create(`${name}a@${other}`))
const { data: locked } = await updateMailbox({ client, path: { mailbox: first.id }, body: { locked: true } })
await create(`${name}b@${domain}`)
await create(`${name}c@${domain}`)
const pages = await readPages()
const last = { mailbox: `${name}c@${domain}` }
await deleteMailbox({ client, path: last })
const gone = await refusal(getMailbox({ client, path: last }))

const saw = {
  domain: made.data.name,
  quota: made.data.default_quota_bytes,
  quota_after_reset: reset.data.default_quota_bytes,
  clear_text: first.credentials.clear_text?.username,
  secure_password: first.credentials.secure_password?.username,
  mechanisms: first.credentials.secure_password?.mechanisms,
  password_length: first.generated_password?.length,
  collision: {
    status: collision.status,
    type: collision.problem.type,
    address: collision.problem.conflict?.address,
  },
  locked: locked.locked,
  login_blocked_by: locked.login_blocked_by,
  pages,
  after_delete: { status: gone.status, type: gone.problem.type },
}
console.log(JSON.stringify(saw))
