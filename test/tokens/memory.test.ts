import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createMemory } from '../../src/tokens/memory.ts'

function counting() {
  let asked = 0
  const ask = async () => ({ answer: ++asked })
  return { ask, asked: () => asked }
}

test('asks once while it hears of changes, and again after one', async () => {
  const memory = createMemory<{ answer: number }>(10)
  const { ask } = counting()
  assert.deepEqual(
    [(await memory.get('a', true, ask)).answer, (await memory.get('a', true, ask)).answer],
    [1, 1],
  )
  assert.equal((await memory.get('b', true, ask)).answer, 2)
  memory.forget()
  assert.equal((await memory.get('a', true, ask)).answer, 3)
})

test('asks each time while it does not hear of changes, and keeps nothing of it', async () => {
  const memory = createMemory<{ answer: number }>(10)
  const { ask } = counting()
  assert.equal((await memory.get('a', true, ask)).answer, 1)
  assert.equal((await memory.get('a', false, ask)).answer, 2)
  assert.equal((await memory.get('b', false, ask)).answer, 3)
  assert.equal((await memory.get('b', true, ask)).answer, 4)
})

test('does not keep an answer that a change may have overtaken', async () => {
  const memory = createMemory<{ answer: number }>(10)
  const { ask } = counting()
  const overtaken = await memory.get('a', true, async () => {
    const answer = await ask()
    memory.forget()
    return answer
  })
  assert.equal(overtaken.answer, 1)
  assert.equal((await memory.get('a', true, ask)).answer, 2)
})

test('keeps nothing of what failed', async () => {
  const memory = createMemory<{ answer: number }>(10)
  const { ask } = counting()
  await assert.rejects(
    memory.get('a', true, () => Promise.reject(new Error('away'))),
    /away/,
  )
  assert.equal((await memory.get('a', true, ask)).answer, 1)
})

test('is bounded, and keeps what was used last', async () => {
  const memory = createMemory<{ answer: number }>(3)
  const { ask, asked } = counting()
  const askFor = async (...keys: string[]) => {
    for (const key of keys) await memory.get(key, true, ask)
    return asked()
  }
  assert.equal(await askFor('a', 'b', 'c', 'a', 'd'), 4)
  assert.equal(await askFor('c', 'a', 'd'), 4)
  assert.equal(await askFor('e', 'f', 'a', 'g', 'h', 'a'), 8) // asked for again and again, it stays
  assert.equal(await askFor('b'), 9)
})
