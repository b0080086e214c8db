import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseDomainName } from '../../src/domains/name.ts'
import { isWithin, parseNetwork, toNetwork } from '../../src/network.ts'
import { ProblemError } from '../../src/problems.ts'
import { holds, scopes } from '../../src/scopes.ts'
import { type Maker, parseExpiry, parseRights } from '../../src/tokens/rights.ts'
import type { TokenCreate } from '../../src/tokens/schemas.ts'

// No maker gives more than it holds, whatever it wishes.

const now = new Date('2026-11-24T08:00:00.250Z')
const dayMs = 24 * 3600 * 1000
const names = ['a.jp', 'b.jp', 'sub.a.jp', 'xn--r8jz45g.jp']
const spelled = [...names, 'A.JP', 'b.jp.', '例え.jp', 'x.jp', '*', '*.a.jp', '']
const networks = ['10.0.0.0/8', '10.1.0.0/16', '10.1.2.3/32', '0.0.0.0/0', '2001:db8::/32', '::/0', '::1/128']
const written = [...networks, '10.1.2.3', '10.1.2.4/31', '10.0.0.1/8', 'x', '192.0.2.1', '2001:db8::7']

const scopeSet = fc.uniqueArray(fc.constantFrom(...scopes))
const moment = fc.integer({ min: -5 * dayMs, max: 400 * dayMs }).map((ms) => new Date(now.getTime() + ms))
const maybe = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined })

const maker: fc.Arbitrary<Maker> = fc
  .record({
    scopes: scopeSet,
    domains: fc.oneof(fc.constant('*' as const), fc.uniqueArray(fc.constantFrom(...names))),
    passwordDelivery: maybe(fc.constant('sealed' as const)),
    token: maybe(
      fc.record({
        ancestors: fc.array(fc.uuid(), { maxLength: 9 }),
        allowed_ips: fc.option(fc.uniqueArray(fc.constantFrom(...networks), { minLength: 1 })),
        expires_at: moment.map((time) => new Date(Math.floor(time.getTime() / 1000) * 1000)),
      }),
    ),
  })
  .map((drawn) => ({ ...drawn, scopes: new Set(drawn.scopes) }) as unknown as Maker)

const wish = fc
  .record({
    scopes: scopeSet,
    domains: maybe(fc.uniqueArray(fc.constantFrom(...spelled), { minLength: 1 })),
    allowed_ips: maybe(fc.uniqueArray(fc.constantFrom(...written), { minLength: 1 })),
    password_delivery: maybe(fc.constantFrom('any' as const, 'sealed' as const)),
    expires_at: maybe(moment.map((time) => time.toISOString())),
  })
  .map((drawn) => ({ ...drawn, label: 'A job' }) as TokenCreate)

/** undefined where it is refused. */
function attempt<T>(work: () => T): T | undefined {
  try {
    return work()
  } catch (error) {
    if (error instanceof ProblemError) return undefined
    throw error
  }
}

function contains(outer: readonly string[] | null | undefined, inner: readonly string[] | null): boolean {
  if (!outer) return true
  const within = (text: string) => outer.some((one) => isWithin(toNetwork(text), toNetwork(one)))
  return inner !== null && inner.length > 0 && inner.every(within)
}

test('a token never allows more than its maker', () => {
  let granted = 0
  fc.assert(
    fc.property(maker, wish, (by, wanted) => {
      const rights = attempt(() => parseRights(by, wanted))
      if (!rights) return
      granted += 1
      assert.ok(rights.scopes.every((scope) => holds(by.scopes, scope)))
      assert.ok(rights.scopes.every((scope) => wanted.scopes.includes(scope)))
      assert.ok(rights.domains.length > 0)
      if (by.domains !== '*') assert.ok(rights.domains.every((name) => by.domains.includes(name as never)))
      assert.ok(contains(by.token?.allowed_ips, rights.allowed_ips))
      assert.ok((by.token?.ancestors.length ?? 0) < 9)
      if (by.passwordDelivery) assert.equal(rights.password_delivery, 'sealed')
    }),
    { numRuns: 5_000 },
  )
  assert.ok(granted > 50, `${granted} of the wishes were granted`)
})

test('what the maker holds is granted, in no other form than it was asked for', () => {
  fc.assert(
    fc.property(maker, fc.constantFrom(...scopes), fc.constantFrom(...names), (by, scope, name) => {
      fc.pre(holds(by.scopes, scope) && (by.token?.ancestors.length ?? 0) < 9)
      fc.pre(by.domains === '*' || by.domains.includes(parseDomainName(name)))
      const allowed_ips = by.token?.allowed_ips ?? ['10.1.2.3']
      const rights = parseRights(by, { label: 'A job', scopes: [scope], domains: [name], allowed_ips })
      assert.deepEqual(rights.scopes, [scope])
      assert.deepEqual(rights.domains, [name])
      assert.deepEqual(
        rights.allowed_ips,
        allowed_ips.map((text) => (text.includes('/') ? text : `${text}/32`)),
      )
      assert.ok(rights.allowed_ips!.every((text) => parseNetwork(text, '')))
    }),
  )
})

test('a token ends in time: with its maker, in 366 days, when it was asked to', () => {
  fc.assert(
    fc.property(maker, maybe(moment), (by, wanted) => {
      const expiry = attempt(() => parseExpiry(by, wanted?.toISOString(), now))
      if (!expiry) return
      assert.ok(expiry > now && expiry.getTime() % 1000 === 0)
      assert.ok(expiry.getTime() <= now.getTime() + 366 * dayMs)
      if (by.token) assert.ok(expiry <= by.token.expires_at)
      if (wanted) assert.ok(expiry <= wanted)
      else assert.ok(expiry.getTime() <= now.getTime() + 90 * dayMs)
    }),
    { numRuns: 2_000 },
  )
})
