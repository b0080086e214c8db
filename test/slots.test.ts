import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createSlots } from '../src/slots.ts'

test('so many at once, of all and of each, and again when one has ended', () => {
  const enter = createSlots({ ofAll: 3, ofCaller: 2, what: 'uploads' })
  const leave = enter('a')
  enter('a')
  assert.throws(() => enter('a'), { code: 'too-many-requests' })
  enter('b')
  assert.throws(() => enter('c'), { code: 'busy' })
  leave()
  enter('c')
  assert.throws(() => enter('b'), { code: 'busy' })
})
