import assert from 'node:assert/strict'
import { test } from 'node:test'
import { nameSchemas } from '../src/named-schemas.ts'
import { document } from './support/contract.ts'

const colour = { title: 'Colour', type: 'string', enum: ['red', 'blue'] }
const reference = { $ref: '#/components/schemas/Colour' }

function named(...schemas: object[]) {
  const { paths, components } = nameSchemas({ paths: { schemas }, components: { schemas: {} } })
  return { schemas: paths.schemas, components: components.schemas as Record<string, object> }
}

test('a schema with a title is defined once, and referred to with what is said of it there', () => {
  const { schemas, components } = named(
    { ...colour, description: 'Of the wall.', default: 'red' },
    { type: 'array', items: colour },
  )
  assert.deepEqual(schemas, [
    { ...reference, description: 'Of the wall.', default: 'red' },
    { type: 'array', items: reference },
  ])
  assert.deepEqual(components, { Colour: { type: 'string', enum: ['red', 'blue'] } })
})

test('one that may be null is the same schema, or null', () => {
  const orNull = { ...colour, type: ['string', 'null'], enum: ['red', 'blue', null], description: 'Or none.' }
  const { schemas, components } = named(orNull)
  assert.deepEqual(schemas, [{ anyOf: [reference, { type: 'null' }], description: 'Or none.' }])
  assert.deepEqual(components, named(colour).components)
})

test('a member that is called title names nothing, and neither does an example', () => {
  const problem = { type: 'object', properties: { title: { type: 'string' } } }
  const shown = { type: 'object', examples: [{ title: 'Red', type: 'colour' }] }
  assert.deepEqual(named(problem, shown), { schemas: [problem, shown], components: {} })
})

test('two different schemas cannot have one name', () => {
  assert.throws(() => named(colour, { ...colour, enum: ['green'] }), /two schemas have the title Colour/)
})

type Lists = Map<string, (string | null)[]>

/** Every list of values of the document, by the place where it is. */
function findLists(node: unknown, place: string, found: Lists): Lists {
  if (typeof node !== 'object' || node === null) return found
  const { enum: values } = node as { enum?: unknown }
  if (Array.isArray(values)) found.set(place, values)
  for (const [key, part] of Object.entries(node)) findLists(part, `${place}/${key}`, found)
  return found
}

test('no list of values has to be named by a generator: give it a title', () => {
  const lists = findLists(document, '', new Map())
  const twice = Map.groupBy(lists, ([, values]) => JSON.stringify(values))
  for (const uses of twice.values()) assert.equal(uses.length, 1, `twice: ${uses.map(([place]) => place)}`)
  for (const [place, values] of lists) {
    assert.ok(!values.includes(null), `${place} may be null`)
    assert.ok(!place.endsWith('/items'), `${place} is that of an element`)
  }
})

/** Objects within others, which generators call by their place or leave without a name. */
function findInline(node: unknown, place: string): string[] {
  if (typeof node !== 'object' || node === null) return []
  const { properties } = node as { properties?: object }
  const isNamed = /^\/components\/schemas\/[^/]+$/.test(place)
  const here = properties !== undefined && !isNamed && !place.endsWith('/properties') ? [place] : []
  return [...here, ...Object.entries(node).flatMap(([key, part]) => findInline(part, `${place}/${key}`))]
}

test('every object of the document has a name', () => {
  assert.deepEqual(findInline(document, ''), [])
})
