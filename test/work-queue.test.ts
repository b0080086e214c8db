import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { type TestContext, test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { ProblemError } from '../src/problems.ts'
import { createWorkQueue, type WorkQueue, type WorkQueueLimits } from '../src/work-queue.ts'

/** Work that lasts until the test ends it. */
function openWork() {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  return { work: () => promise, end: () => resolve('done'), fail: reject }
}

function smallQueue(t: TestContext, limits: Partial<WorkQueueLimits> = {}): WorkQueue {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  return createWorkQueue({ concurrency: 1, maxWaiting: 2, maxWaitMs: 30_000, ...limits })
}

function isBusy(error: unknown): boolean {
  return error instanceof ProblemError && error.code === 'busy' && error.retryAfterSeconds === 30
}

async function assertFree(queue: WorkQueue): Promise<void> {
  await nextTurn()
  assert.deepEqual({ running: queue.running, waiting: queue.waiting }, { running: 0, waiting: 0 })
  assert.equal(await queue.run(({ waited }) => waited), false, 'the slot is free again')
}

test('runs work at once while a slot is free, and says that it did not wait', async () => {
  const queue = createWorkQueue({ concurrency: 2 })
  assert.deepEqual(await Promise.all([queue.run((turn) => turn), queue.run((turn) => turn)]), [
    { waited: false },
    { waited: false },
  ])
  await assertFree(queue)
})

test('tells work that had to wait that it did', async (t) => {
  const queue = smallQueue(t)
  const first = openWork()
  const running = queue.run(first.work)
  const second = queue.run(({ waited }) => waited)
  first.end()
  assert.equal(await running, 'done')
  assert.equal(await second, true)
  await assertFree(queue)
})

test('lets a burst of 200 wait, in order, and never runs more at once than it may', async () => {
  const queue = createWorkQueue({ concurrency: 3 })
  const started: number[] = []
  let atOnce = 0
  let most = 0
  const burst = Array.from({ length: 200 }, (_, i) =>
    queue.run(async () => {
      started.push(i)
      atOnce += 1
      most = Math.max(most, atOnce)
      await nextTurn()
      atOnce -= 1
      return i
    }),
  )
  assert.deepEqual({ running: queue.running, waiting: queue.waiting }, { running: 3, waiting: 197 })
  const inOrder = Array.from({ length: 200 }, (_, i) => i)
  assert.deepEqual(await Promise.all(burst), inOrder)
  assert.deepEqual(started, inOrder)
  assert.equal(most, 3)
  await assertFree(queue)
})

test('lets nobody overtake those who wait', async (t) => {
  const queue = smallQueue(t)
  const order: string[] = []
  const first = openWork()
  const running = queue.run(first.work)
  const waiter = queue.run(() => order.push('waiter'))
  first.end()
  const newcomer = running.then(() => queue.run(() => order.push('newcomer')))
  await Promise.all([waiter, newcomer])
  assert.deepEqual(order, ['waiter', 'newcomer'])
})

test('refuses at once when too many wait', async (t) => {
  const queue = smallQueue(t)
  const first = openWork()
  const admitted = [queue.run(first.work), queue.run(() => 'second'), queue.run(() => 'third')]
  await assert.rejects(
    queue.run(() => assert.fail('ran')),
    isBusy,
  )
  assert.equal(queue.waiting, 2)
  first.end()
  assert.deepEqual(await Promise.all(admitted), ['done', 'second', 'third'])
  await assertFree(queue)
})

test('refuses work that waited too long and gives it no slot afterwards', async (t) => {
  const queue = smallQueue(t)
  const first = openWork()
  const running = queue.run(first.work)
  const late = assert.rejects(
    queue.run(() => assert.fail('ran')),
    isBusy,
  )
  t.mock.timers.tick(29_999)
  assert.equal(queue.waiting, 1)
  t.mock.timers.tick(1)
  await late
  assert.equal(queue.waiting, 0)
  first.end()
  await running
  await assertFree(queue)
})

test('does not time out work whose turn came', async (t) => {
  const queue = smallQueue(t)
  const first = openWork()
  const second = openWork()
  const both = [queue.run(first.work), queue.run(second.work)]
  first.end()
  await both[0]
  t.mock.timers.tick(60_000)
  second.end()
  assert.deepEqual(await Promise.all(both), ['done', 'done'])
})

test('forgets a waiter that is abandoned and serves the next one', async (t) => {
  const queue = smallQueue(t)
  const client = new AbortController()
  const gone = new Error('the client went away')
  const first = openWork()
  const running = queue.run(first.work)
  const abandoned = assert.rejects(
    queue.run(() => assert.fail('ran'), client.signal),
    gone,
  )
  const next = queue.run(() => 'next')
  client.abort(gone)
  await abandoned
  assert.equal(queue.waiting, 1)
  first.end()
  await running
  assert.equal(await next, 'next')
  await assertFree(queue)
})

test('leaves no timer and no listener behind', async () => {
  const timers = () => process.getActiveResourcesInfo().filter((resource) => resource === 'Timeout').length
  const before = timers()
  const queue = createWorkQueue({ concurrency: 1 })
  const { signal } = new AbortController()
  const first = openWork()
  const both = [queue.run(first.work, signal), queue.run(() => 'second', signal)]
  assert.equal(timers(), before + 1)
  first.end()
  await Promise.all(both)
  assert.equal(timers(), before)
  assert.equal(getEventListeners(signal, 'abort').length, 0)
})

test('does not start what was abandoned before it asked', async () => {
  const queue = createWorkQueue({ concurrency: 1 })
  const gone = new Error('the client went away')
  await assert.rejects(
    queue.run(() => assert.fail('ran'), AbortSignal.abort(gone)),
    gone,
  )
  await assertFree(queue)
})

for (const [how, work] of [
  ['rejects', () => Promise.reject(new Error('failed'))],
  [
    'throws',
    () => {
      throw new Error('failed')
    },
  ],
] as const) {
  test(`frees the slot of work that ${how}`, async (t) => {
    const queue = smallQueue(t)
    const failing = assert.rejects(queue.run(work), /^Error: failed$/)
    const next = queue.run(() => 'next')
    await failing
    assert.equal(await next, 'next')
    await assertFree(queue)
  })
}

for (const concurrency of [0, -1, Number.NaN]) {
  test(`cannot be made with a concurrency of ${concurrency}, with which all would wait for ever`, () => {
    assert.throws(() => createWorkQueue({ concurrency }), RangeError)
  })
}
