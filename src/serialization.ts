import fastJsonStringify, { type Schema } from 'fast-json-stringify'
import { compileLater } from './compile-later.ts'

type Schemas = Record<string, Schema>

/** The serializers of answers. Each is told of the schemas that it needs alone, since it would check all of them. */
export function buildSerializer(sharedSchemas: unknown) {
  const shared = sharedSchemas as Schemas
  return compileLater<string>((schema) =>
    fastJsonStringify(schema as Schema, { schema: referredBy(schema, shared) }),
  )
}

/** Those of the shared schemas that the schema refers to, and those that these refer to. */
export function referredBy(schema: object, shared: Schemas, found: Schemas = {}): Schemas {
  for (const [key, part] of Object.entries(schema)) {
    if (typeof part === 'object' && part !== null) referredBy(part, shared, found)
    if (key !== '$ref' || typeof part !== 'string') continue
    const name = part.split('#', 1)[0]!
    const target = shared[name]
    if (target === undefined || name in found) continue
    found[name] = target
    referredBy(target, shared, found)
  }
  return found
}
