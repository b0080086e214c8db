import assert from 'node:assert/strict'
import { test } from 'node:test'
import packageJson from '../package.json' with { type: 'json' }
import type { Operation } from './support/contract.ts'
import { allTests, declaredAnswers, excused, findGaps } from './support/contract-coverage.ts'
import { operations } from './support/operations.ts'

// The check itself runs after the last test file (test/support/global.ts), when all tests are run.

const operation: Operation = {
  operationId: 'createThing',
  responses: {
    201: { content: { 'application/json': { schema: {} } } },
    204: {},
    409: {
      content: {
        'application/problem+json': { schema: {}, examples: { taken: { value: {} }, held: { value: {} } } },
      },
    },
  },
}

test('the check knows the run of all tests by the pattern of npm test', () => {
  assert.ok(packageJson.scripts.test.includes(allTests))
})

test('lists an answer for each status, and for each code of a problem', () => {
  assert.deepEqual(declaredAnswers([operation]), [
    'createThing 201',
    'createThing 204',
    'createThing 409 taken',
    'createThing 409 held',
  ])
})

test('names what no test has seen', () => {
  const declared = [...declaredAnswers([operation]), ...Object.keys(excused)]
  const seen = new Set(['createThing 201', 'createThing 204', 'createThing 409 held'])
  assert.deepEqual(findGaps(declared, seen), ['declared, but no test has seen it: createThing 409 taken'])
  assert.deepEqual(findGaps(declared, seen.add('createThing 409 taken')), [])
})

test('names an excuse that nobody needs', () => {
  const [first = ''] = Object.keys(excused)
  const [gap] = findGaps(Object.keys(excused), new Set([first]))
  assert.equal(gap, `excused without need: ${first}`)
  assert.equal(findGaps([], new Set()).length, Object.keys(excused).length)
})

test('knows the answers of this service', () => {
  const declared = declaredAnswers(operations)
  for (const answer of ['createDomain 201', 'createMailbox 409 name-taken', 'getReadiness 503 unavailable']) {
    assert.ok(declared.includes(answer), answer)
  }
})
