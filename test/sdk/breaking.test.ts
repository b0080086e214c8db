import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { type Comparison, compare } from '../../clients/breaking.ts'
import { documentFile } from '../../clients/generate.ts'
import { lacks } from '../../clients/tools.ts'
import { document } from '../support/contract.ts'
import { temporaryFolder } from '../support/process.ts'

const withOasdiff = { skip: lacks('oasdiff') }

interface Schema {
  properties: Record<string, unknown>
  required: string[]
  enum: string[]
}

interface Changed {
  paths: Record<string, Record<string, { operationId: string; parameters: unknown[] }>>
  components: { schemas: Record<string, Schema> }
}

/** The document as it is against one where something was changed. */
async function change(t: TestContext, how: (changed: Changed) => void): Promise<Comparison> {
  const changed = structuredClone(document) as unknown as Changed
  how(changed)
  const file = join(await temporaryFolder(t), 'openapi.json')
  await writeFile(file, JSON.stringify(changed))
  return compare(documentFile, file)
}

function schema({ components }: Changed, name: string): Schema {
  return components.schemas[name]!
}

test('the document breaks nothing of itself', withOasdiff, async () => {
  assert.equal((await compare(documentFile, documentFile)).breaks, false)
})

const breaking: Record<string, (changed: Changed) => void> = {
  'a member of an answer that is gone': (changed) => {
    const mailbox = schema(changed, 'Mailbox')
    delete mailbox.properties.locked
    mailbox.required = mailbox.required.filter((name) => name !== 'locked')
  },
  'an optional one': (changed) => delete schema(changed, 'MailboxCreated').properties.generated_password,
  'a member of a request that is gone, which is then refused': (changed) =>
    delete schema(changed, 'DomainUpdate').properties.mail_server,
  'a member that has to be sent': (changed) => schema(changed, 'DomainCreate').required.push('locked'),
  'a value that is not taken any more': (changed) => schema(changed, 'Delivery').enum.pop(),
  'an operation that is gone': ({ paths }) => delete paths['/v1/domains/{domain}']!.delete,
  'another name of an operation': ({ paths }) => {
    paths['/v1/domains']!.get!.operationId = 'findDomains'
  },
  'a parameter that is gone': ({ paths }) => paths['/v1/domains']!.get!.parameters.shift(),
}

for (const [what, how] of Object.entries(breaking)) {
  test(`${what} breaks clients`, withOasdiff, async (t) => {
    const { breaks, report } = await change(t, how)
    assert.ok(breaks && /^error/m.test(report), report)
  })
}

test(
  'what is new beside the old breaks nothing; a new value of an answer is a warning',
  withOasdiff,
  async (t) => {
    const { breaks, report } = await change(t, (changed) => {
      schema(changed, 'Mailbox').properties.nickname = { type: 'string' }
      schema(changed, 'MailboxCreate').properties.nickname = { type: 'string' }
      schema(changed, 'LoginBlock').enum.push('holiday')
      changed.paths['/v1/nicknames'] = structuredClone(changed.paths['/v1/domains']!)
      for (const operation of Object.values(changed.paths['/v1/nicknames']))
        operation.operationId += 'Nicknames'
    })
    assert.equal(breaks, false, report)
    assert.match(report, /warning\s+\[response-property-enum-value-added\]/)
  },
)
