import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { buildApp } from '../src/app.ts'
import { openapiText } from '../src/openapi.ts'
import { assertValid, document, type MediaType } from './support/contract.ts'
import { operations } from './support/operations.ts'
import { startService } from './support/service.ts'

const service = await startService()
const file = fileURLToPath(new URL('../openapi/openapi.json', import.meta.url))
const redocly = fileURLToPath(new URL('../node_modules/@redocly/cli/bin/cli.js', import.meta.url))

interface Schema {
  type?: string | string[]
  properties?: Record<string, Schema>
  items?: Schema
  additionalProperties?: unknown
  default?: unknown
  examples?: unknown[]
  $ref?: string
}

const schemas = document.components.schemas as Record<string, Schema>

test('the committed document is what the code makes; if not, run npm run openapi', async () => {
  assert.equal(await readFile(file, 'utf8'), await openapiText())
})

test('serves the committed document', async () => {
  const response = await fetch(new URL('/openapi.json', service.url))
  assert.match(response.headers.get('content-type') ?? '', /^application\/json/)
  assert.deepEqual(await response.json(), document)
})

test('serves it with the public URL as its server, and otherwise the same', async () => {
  const publicUrl = 'https://provisioning.example.jp'
  const app = await buildApp({
    db: service.db,
    derivations: service.derivations,
    auth: { keys: service.keys, domainsClaim: 'mailwright_domains' },
    publicUrl,
  })
  after(() => app.close())
  const served = (await app.inject('/openapi.json')).json()
  assert.deepEqual(served.servers, [{ url: publicUrl }])
  assert.deepEqual({ ...served, servers: [{ url: '/' }] }, document)
})

async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'mailwright-lint-'))
  after(() => rm(folder, { recursive: true }))
  return folder
}

interface Finding {
  ruleId: string
  message: string
}

/** Redocly CLI with its recommended rules: in an empty folder, so that no configuration is found. */
async function lint(path: string): Promise<Finding[]> {
  const folder = await temporaryFolder()
  const env = { ...process.env, REDOCLY_TELEMETRY: 'off', REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true' }
  const report = await new Promise<string>((resolve) => {
    execFile(process.execPath, [redocly, 'lint', path, '--format=json'], { cwd: folder, env }, (_, stdout) =>
      resolve(stdout),
    )
  })
  return JSON.parse(report).problems
}

test('Redocly CLI finds neither errors nor warnings', async () => {
  assert.deepEqual(await lint(file), [])
})

test('Redocly CLI does find what is wrong', async () => {
  const wrong = join(await temporaryFolder(), 'openapi.json')
  await writeFile(wrong, (await readFile(file, 'utf8')).replace('"summary"', '"summery"'))
  const rules = (await lint(wrong)).map(({ ruleId }) => ruleId)
  assert.deepEqual(rules.sort(), ['operation-summary', 'struct'])
})

test('names each operation once, in camelCase, with a summary and a tag that is described', () => {
  const names = operations.map(({ operationId }) => operationId)
  assert.equal(new Set(names).size, names.length)
  for (const name of names) assert.match(name, /^[a-z]+([A-Z][a-z]+)+$/)
  const { tags } = document as unknown as { tags: { name: string; description: string }[] }
  const described = new Set(tags.filter(({ description }) => description).map(({ name }) => name))
  for (const operation of operations as unknown as { summary: string; tags: string[] }[]) {
    assert.ok(operation.summary)
    assert.ok(operation.tags.every((tag) => described.has(tag)))
  }
})

test('every operation declares its security and a 4xx', () => {
  for (const { operationId, security, responses } of operations) {
    assert.ok(Array.isArray(security), operationId)
    assert.ok(
      Object.keys(responses).some((status) => status.startsWith('4')),
      operationId,
    )
  }
})

test('the text of an operation names its scopes, which the reference does not show by itself', () => {
  for (const { operationId, security = [], description = '' } of operations) {
    for (const scope of security.flatMap(({ bearer = [] }) => bearer))
      assert.ok(description.includes(`\`${scope}\``), operationId)
  }
})

test('every object that is sent or answered refuses members that it does not know', () => {
  const reached = new Set<string>()
  for (const operation of operations) {
    const { operationId, requestBody, responses } = operation
    const { parameters = [] } = operation as { parameters?: { schema: Schema }[] }
    const contents = [requestBody, ...Object.values(responses)].map((part) => part?.content ?? {})
    const media = contents.flatMap((content) => Object.values(content))
    for (const { schema } of [...media, ...parameters]) assertStrict(schema, operationId, reached)
  }
  assert.deepEqual([...reached].sort(), Object.keys(schemas).sort(), 'every schema is used')
})

/** Looks at whatever the schema is made of, and follows its references. */
function assertStrict(schema: Schema, where: string, reached: Set<string>): void {
  const name = schema.$ref?.replace('#/components/schemas/', '')
  if (name !== undefined && !reached.has(name)) assertStrict(schemas[name]!, name, reached.add(name))
  if (schema.properties) assert.equal(schema.additionalProperties, false, where)
  const { examples: _, ...parts } = schema
  for (const [key, part] of Object.entries(parts)) {
    if (typeof part === 'object' && part !== null) assertStrict(part, `${where}.${key}`, reached)
  }
}

test('every example is valid', () => {
  for (const [name, schema] of Object.entries(schemas)) {
    for (const example of schema.examples ?? [])
      assertValid(`openapi#/components/schemas/${name}`, example, name)
  }
  for (const { operationId, responses } of operations) {
    for (const { content } of Object.values(responses)) checkExamples(operationId, content ?? {})
  }
})

function checkExamples(operationId: string, content: Record<string, MediaType>): void {
  for (const { schema, examples } of Object.values(content)) {
    for (const { value } of Object.values(examples ?? {})) {
      assertValid((schema as { $ref: string }).$ref.replace('#', 'openapi#'), value, operationId)
    }
  }
}

test('what is sent and what is answered has an example, by itself or by what it lists', () => {
  for (const { operationId, requestBody, responses } of operations) {
    const bodies = [requestBody?.content, responses['200']?.content, responses['201']?.content]
    for (const { schema } of bodies.flatMap((content) => Object.values(content ?? {}))) {
      const { $ref } = schema as Schema
      if ($ref === undefined) continue // a page
      const { examples, properties } = schemas[$ref.replace('#/components/schemas/', '')]!
      const item = properties?.items?.items?.$ref?.replace('#/components/schemas/', '')
      assert.ok(examples ?? schemas[item ?? '']?.examples, `${operationId} ${$ref}`)
    }
  }
})
