/** Any part of the document. */
type Node = Record<string, unknown>
type Schemas = Record<string, Node>

interface OpenapiDocument {
  components?: { schemas?: Schemas }
}

/** What an answer or a request looks like is not a schema. */
const values = new Set(['examples', 'example', 'default', 'enum', 'const'])

/**
 * Puts each schema that has a `title` under that name into the components, and a reference where it stood, so that the
 * generated clients have one type of that name instead of one for each member that it is used in. The service itself
 * goes on with the schemas as they are written.
 */
export function nameSchemas<T extends object>(document: T): T {
  const named: Schemas = {}
  const { components, ...rest } = document as T & OpenapiDocument
  const before = Object.entries(components?.schemas ?? {})
  const schemas = Object.fromEntries(before.map(([name, schema]) => [name, replaceParts(schema, named)]))
  const others = replaceParts(rest, named)
  return { ...document, ...others, components: { ...components, schemas: { ...schemas, ...named } } }
}

function replaceNamed(part: unknown, named: Schemas): unknown {
  if (Array.isArray(part)) return part.map((one) => replaceNamed(one, named))
  if (typeof part !== 'object' || part === null) return part
  const node = part as Node
  return isNamed(node) ? refer(node, named) : replaceParts(node, named)
}

function replaceParts(node: Node, named: Schemas): Node {
  const entries = Object.entries(node)
  return Object.fromEntries(
    entries.map(([key, part]) => [key, values.has(key) ? part : replaceNamed(part, named)]),
  )
}

function isNamed({ title, type }: Node): boolean {
  return typeof title === 'string' && type !== undefined
}

/** What is said of the member stays beside the reference (JSON Schema 2020-12 §8.2.3.1 allows it). */
function refer(node: Node, named: Schemas): Node {
  const { title, description, default: fallback, ...schema } = node
  const name = title as string
  const types = [schema.type].flat()
  define(name, replaceParts(withoutNull(schema), named), named)
  const said = {
    ...(description !== undefined && { description }),
    ...(fallback !== undefined && { default: fallback }),
  }
  const $ref = `#/components/schemas/${name}`
  return types.includes('null') ? { anyOf: [{ $ref }, { type: 'null' }], ...said } : { $ref, ...said }
}

function withoutNull(schema: Node): Node {
  const type = [schema.type].flat().filter((one) => one !== 'null')
  const { enum: listed } = schema as { enum?: unknown[] }
  return {
    ...schema,
    type: type.length === 1 ? type[0] : type,
    ...(listed && { enum: listed.filter((one) => one !== null) }),
  }
}

function define(name: string, schema: Node, named: Schemas): void {
  const known = named[name]
  if (known !== undefined && JSON.stringify(known) !== JSON.stringify(schema))
    throw new Error(`two schemas have the title ${name}`)
  named[name] = schema
}
