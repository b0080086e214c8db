import {
  type Client,
  createDomain,
  createMailbox,
  deleteDomain,
  deleteMailbox,
  getDomain,
  getDomainStatistics,
  getMailbox,
  getServer,
  isProblem,
  items,
  listDomains,
  listMailboxes,
  setPassword,
  updateDomain,
  updateMailbox,
  updateServer,
} from '../../../clients/typescript/src/index.ts'
import { UsageError } from './arguments.ts'
import { count, domainHeading, domainLine, loginInformation, mailboxHeading, mailboxLine } from './output.ts'
import { findSetting } from './settings.ts'

/** What a command works with: `print` writes a line to standard output, `remark` one to standard error. */
export interface Context {
  client: Client
  print(line: string): void
  remark(line: string): void
  /** A password that is given as `-`, or not at all, is read from standard input or asked for. */
  password(given: string | true | undefined): Promise<string>
}

const isMailbox = (name: string) => name.includes('@')

function assertMailbox(name: string): void {
  if (!isMailbox(name)) throw new UsageError('Name a mailbox first: user@domain.') // it may be the password that stands there
}

export async function add(context: Context, name: string, createUser?: string | true): Promise<void> {
  const { client, print } = context
  if (!isMailbox(name)) {
    if (createUser !== undefined) throw new UsageError('/createuser is for mailboxes: user@domain.')
    await createDomain({ client, body: { name } })
    return print('Domain successfully added.')
  }
  const account =
    createUser === undefined
      ? { create_account: false }
      : { create_account: true, password: await context.password(createUser) }
  const { data } = await createMailbox({ client, body: { address: name, ...account } })
  print('Mailbox successfully added.')
  print(loginInformation(data.credentials))
}

export async function changePassword(context: Context, address: string, given?: string): Promise<void> {
  assertMailbox(address)
  const { client, print } = context
  const password = await context.password(given)
  const { data } = await getMailbox({ client, path: { mailbox: address } })
  await setPassword({ client, path: { account: data.name }, body: { password } })
  print('Password successfully changed.')
}

/** For good, as it was: the mail goes too. */
export async function remove({ client, print }: Context, name: string, deleteUser = false): Promise<void> {
  const account = deleteUser ? 'delete' : 'keep'
  if (isMailbox(name)) {
    await deleteMailbox({ client, path: { mailbox: name }, query: { purge: true, account } })
    return print('Mailbox successfully deleted.')
  }
  await removeDomain(client, name, account)
  print('Domain successfully deleted.')
}

const countings = 5

/** Only with the number of mailboxes that it has; where some came or went since they were counted, they are counted again. */
async function removeDomain(client: Client, domain: string, accounts: 'keep' | 'delete'): Promise<void> {
  for (let left = countings; ; left -= 1) {
    const { data } = await getDomain({ client, path: { domain } })
    const query = { purge: true, mailboxes: 'delete', expect: data.mailbox_count, accounts } as const
    try {
      await deleteDomain({ client, path: { domain }, query })
      return
    } catch (error) {
      if (left === 1 || !isProblem(error, 'count-mismatch')) throw error
    }
  }
}

export async function setLock(
  { client, print, remark }: Context,
  name: string,
  locked: boolean,
): Promise<void> {
  const done = locked ? 'locked' : 'unlocked'
  if (!isMailbox(name)) {
    await updateDomain({ client, path: { domain: name }, body: { locked } })
    return print(`Domain successfully ${done}.`)
  }
  const { data } = await updateMailbox({ client, path: { mailbox: name }, body: { locked } })
  print(`Mailbox successfully ${done}.`)
  if (!locked && data.effective_locked)
    remark(`Nobody can log on before its domain is unlocked too: winpop unlock ${data.domain}`)
}

export async function list({ client, print }: Context, domain?: string): Promise<void> {
  if (domain === undefined) {
    const domains = items(listDomains, { client, query: { limit: 1000 } })
    return printAll(print, domainHeading, domains, domainLine, 'domain')
  }
  await getDomain({ client, path: { domain } }) // one that is not there has no mailboxes either
  const mailboxes = items(listMailboxes, { client, query: { domain, limit: 1000 } })
  await printAll(print, mailboxHeading, mailboxes, mailboxLine, 'mailbox')
}

/** Page by page, however many there are; the heading only where there is something to read. */
async function printAll<Item>(
  print: Context['print'],
  heading: string,
  all: AsyncIterable<Item>,
  line: (item: Item) => string,
  noun: string,
): Promise<void> {
  let printed = 0
  for await (const item of all) {
    if (printed === 0) print(heading)
    print(line(item))
    printed += 1
  }
  print(count(printed, noun))
}

export async function stat({ client, print }: Context, domain?: string): Promise<void> {
  if (domain !== undefined) {
    const { data } = await getDomainStatistics({ client, path: { domain } })
    for (const [what, value] of figures(data)) print(figure(what, value))
    return
  }
  const { data } = await getServer({ client })
  const { mail_server, statistics } = data
  print(figure('Mail server', mail_server))
  print(figure('Domains', statistics.domains))
  for (const [what, value] of figures(statistics)) print(figure(what, value))
}

const figure = (what: string, value: string | number) => `${what.padEnd(12)}${value}`

function figures({ mailboxes, messages, bytes }: { mailboxes: number; messages: number; bytes: number }) {
  return [
    ['Mailboxes', mailboxes],
    ['Messages', messages],
    ['Bytes', bytes],
  ] as const
}

export async function get({ client, print }: Context, name: string): Promise<void> {
  const setting = findSetting(name)
  const { data } = await getServer({ client })
  print(setting.get(data))
}

export async function set({ client, print, remark }: Context, name: string, value: string): Promise<void> {
  const setting = findSetting(name)
  await updateServer({ client, body: setting.set(value) })
  print('Setting successfully changed.')
  if (setting.note) remark(setting.note)
}
