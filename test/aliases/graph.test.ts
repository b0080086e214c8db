import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import fc from 'fast-check'
import { outcome } from '../support/client.ts'
import { assertOutcomes, startRaces } from '../support/races.ts'

const { service, here: admin, race, newDomain, newName, newMailbox, count } = await startRaces()

before(async () => {
  await admin.post('/v1/domains', { name: 'g.jp' })
  for (const i of [0, 1, 2])
    await admin.post('/v1/mailboxes', { address: `m${i}@g.jp`, generate_password: true })
})

const nodes = Array.from({ length: 7 }, (_, i) => `n${i}`)
const leaves = ['m0', 'm1', 'm2']

/** What the aliases mean, thought out simply: targets by alias. */
type Graph = Map<string, string[]>

/** The longest way through aliases from here; Infinity where it comes round. */
function height(graph: Graph, node: string, path: string[] = []): number {
  if (path.includes(node)) return Infinity
  const targets = graph.get(node)
  return targets ? 1 + Math.max(...targets.map((one) => height(graph, one, [...path, node]))) : 0
}

function reached(graph: Graph, node: string): string[] {
  const targets = graph.get(node)
  return targets
    ? [...new Set(targets.flatMap((one) => reached(graph, one)))]
    : leaves.includes(node)
      ? [node]
      : []
}

interface Edit {
  node: string
  targets: string[] | null
}
const edit: fc.Arbitrary<Edit> = fc.record({
  node: fc.constantFrom(...nodes),
  targets: fc.option(fc.uniqueArray(fc.constantFrom(...nodes, ...leaves), { minLength: 1, maxLength: 3 }), {
    freq: 6,
  }),
})

/** What the API should say to the edit; it is in the graph afterwards where that is a success. */
function expect(graph: Graph, { node, targets }: Edit): string {
  if (targets === null) return graph.delete(node) ? '204' : '404 alias-not-found'
  const before = graph.get(node)
  const next: Graph = new Map([...graph, [node, targets]])
  const added = targets.filter((one) => !before?.includes(one))
  if (added.some((one) => !next.has(one) && !leaves.includes(one))) return '422 unknown-target'
  const heights = nodes.map((one) => height(next, one))
  if (heights.includes(Infinity)) return '409 alias-loop'
  if (Math.max(...heights) > 5) return '409 alias-limit-reached'
  graph.set(node, targets)
  return before ? '200' : '201'
}

async function apply(graph: Graph, { node, targets }: Edit): Promise<string> {
  const path = `/v1/aliases/${node}@g.jp`
  if (targets === null) return outcome(await admin.delete(path))
  const addresses = targets.map((one) => `${one}@g.jp`)
  if (graph.has(node)) return outcome(await admin.patch(path, { targets: addresses }))
  return outcome(await admin.post('/v1/aliases', { address: `${node}@g.jp`, targets: addresses }))
}

test('the API refuses what closes a loop or is too long, and the mail goes where a simple model says', async () => {
  const longWay = nodes.slice(0, 6).map((node, i) => ({ node, targets: [i === 0 ? 'm0' : nodes[i - 1]!] }))
  const ring: Edit[] = [...longWay.slice(0, 3), { node: 'n0', targets: ['n2', 'm1'] }]
  await fc.assert(
    fc.asyncProperty(fc.array(edit, { minLength: 10, maxLength: 30 }), async (edits) => {
      await service.admin.query('delete from app.aliases; delete from app.addresses where kind = $$alias$$')
      const graph: Graph = new Map()
      for (const one of edits) {
        const before: Graph = new Map(graph)
        const expected = expect(graph, one)
        assert.equal(await apply(before, one), expected, JSON.stringify(one))
      }
      for (const node of graph.keys()) {
        const { rows } = await service.admin.query(`select mail.alias($1, 'g.jp') as r`, [node])
        assert.deepEqual(
          rows.map(({ r }) => r).sort(),
          reached(graph, node)
            .map((one) => `${one}@g.jp`)
            .sort(),
        )
      }
    }),
    { numRuns: 25, examples: [[longWay], [ring]] },
  )
})

describe('races', () => {
  test('two writes never close a loop together', async () => {
    for (let round = 0; round < 8; round++) {
      const domain = await newDomain()
      const ring = ['a', 'b', 'c', 'd'].map((name) => `${name}@${domain}`)
      for (const address of ring) await admin.post('/v1/aliases', { address, targets: ['m0@g.jp'] })
      const replies = await race(ring.length, (client, i) =>
        client.patch(`/v1/aliases/${ring[i]}`, { targets: [ring[(i + 1) % ring.length]] }),
      )
      const counts = assertOutcomes(replies, '200', '409 alias-loop')
      assert.equal(counts['409 alias-loop'], 1)
    }
  })

  test('an address is a mailbox or an alias, never both', async () => {
    for (let round = 0; round < 8; round++) {
      const address = `${newName()}@g.jp`
      const replies = await race(8, (client, i) =>
        i % 4 < 2
          ? client.post('/v1/aliases', { address, targets: ['m0@g.jp'] })
          : client.post('/v1/mailboxes', { address, generate_password: true }),
      )
      const counts = assertOutcomes(replies, '201', '409 alias-exists', '409 mailbox-exists')
      assert.equal(counts['201'], 1)
      const [name] = address.split('@')
      const made = [await count('mailboxes', 'name = $1', name), await count('aliases', 'name = $1', name)]
      assert.equal(made[0]! + made[1]!, 1)
    }
  })

  test('an alias is made in a domain or the domain is deleted, never both', async () => {
    for (let round = 0; round < 8; round++) {
      const domain = await newDomain()
      const mailbox = await newMailbox(domain)
      const replies = await race(2, (client, i) =>
        i === round % 2
          ? client.delete(`/v1/domains/${domain}?purge=true&mailboxes=delete&expect=1`)
          : client.post('/v1/aliases', { address: `x@${domain}`, targets: ['m0@g.jp', mailbox] }),
      )
      assertOutcomes(replies, '201', '204', '422 unknown-domain', '422 unknown-target')
      assert.equal(await count('addresses', 'domain = $1', domain), 0)
      assert.equal(await count('aliases', 'domain = $1', domain), 0)
    }
  })

  test('an alias that is deleted and changed at once is gone', async () => {
    for (let round = 0; round < 8; round++) {
      const address = `${newName()}@g.jp`
      await admin.post('/v1/aliases', { address, targets: ['m0@g.jp'] })
      const replies = await race(4, (client, i) =>
        i < 2
          ? client.delete(`/v1/aliases/${address}`)
          : client.patch(`/v1/aliases/${address}`, { targets: ['m1@g.jp'] }),
      )
      const counts = assertOutcomes(replies, '200', '204', '404 alias-not-found')
      assert.equal(counts['204'], 1)
      assert.equal(outcome(await admin.get(`/v1/aliases/${address}`)), '404 alias-not-found')
    }
  })
})
