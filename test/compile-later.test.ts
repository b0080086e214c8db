import assert from 'node:assert/strict'
import { test } from 'node:test'
import fastJsonStringify, { type Schema } from 'fast-json-stringify'
import type { FastifySchemaCompiler } from 'fastify'
import { buildApp } from '../src/app.ts'
import { compileLater } from '../src/compile-later.ts'
import { referredBy } from '../src/serialization.ts'
import { buildValidator } from '../src/validation.ts'
import { createWorkQueue } from '../src/work-queue.ts'
import { startService } from './support/service.ts'

const { db, keys } = await startService()

test('compiles at the first use, and once what is written alike', () => {
  const compiled: object[] = []
  const compile = compileLater((schema) => {
    compiled.push(schema)
    return (value) => `${value} of ${JSON.stringify(schema)}`
  })
  const [one, alike, other] = [{ type: 'string' }, { type: 'string' }, { type: 'null' }].map((schema) =>
    compile({ schema }),
  )
  assert.deepEqual(compiled, [])
  assert.equal(one!(1), '1 of {"type":"string"}')
  assert.equal(alike!(2), '2 of {"type":"string"}')
  assert.equal(other!(3), '3 of {"type":"null"}')
  assert.deepEqual(compiled, [{ type: 'string' }, { type: 'null' }])
})

// The service itself would find one that cannot be compiled only when it is first asked for.
test('every schema of every operation compiles', async () => {
  let checks = 0
  let serializers = 0
  const compilersFactory = {
    buildValidator: (shared: unknown) => {
      const compile = buildValidator(shared)
      return ((route) => {
        const check = compile(route)
        check({})
        checks += 1
        return check
      }) as FastifySchemaCompiler<object>
    },
    buildSerializer:
      (shared: unknown) =>
      ({ schema }: { schema?: unknown }) => {
        serializers += 1
        const known = shared as Record<string, Schema>
        return fastJsonStringify(schema as Schema, { schema: referredBy(schema as object, known) })
      },
  }
  const app = await buildApp({
    db,
    derivations: createWorkQueue(),
    auth: { keys, domainsClaim: 'domains' },
    fastify: { schemaController: { compilersFactory: compilersFactory as never } },
  })
  await app.ready()
  await app.close()
  assert.ok(checks > 100 && serializers > 400, `${checks}, ${serializers}`)
})
