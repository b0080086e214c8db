import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { platform } from 'node:os'
import { test } from 'node:test'
import { startProcess } from './support/process.ts'

test('the threads that derive keys yield to the one that answers requests', {
  skip: platform() !== 'linux' && 'only Linux has priorities of threads',
}, async (t) => {
  const { child } = await startProcess(t, { env: { UV_THREADPOOL_SIZE: '4' } })
  const tasks = `/proc/${child.pid}/task`
  const threads = await Promise.all(
    (await readdir(tasks)).map(async (thread) => {
      const stat = await readFile(`${tasks}/${thread}/stat`, 'utf8')
      const [, name, rest] = /^\d+ \((.*)\) (.*)$/s.exec(stat) ?? []
      return { name, nice: Number(rest!.split(' ')[16]) } // proc_pid_stat(5): field 19, counted from the third here
    }),
  )
  const niceOf = (wanted: string) => threads.filter(({ name }) => name === wanted).map(({ nice }) => nice)
  const [main] = niceOf('node-MainThread')
  assert.equal(niceOf('node-MainThread').length, 1)
  assert.deepEqual(niceOf('libuv-worker'), Array(4).fill(Math.min(main! + 10, 19)))
})
