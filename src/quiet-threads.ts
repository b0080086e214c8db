import { readdir, readFile } from 'node:fs/promises'
import { getPriority, setPriority } from 'node:os'

/** A tenth of the share of the others, where all want the processor (sched(7), "The nice value"). */
const nicerBy = 10
const nicest = 19

/**
 * Lets the threads that derive keys run where nobody else wants to: a read beside them then waits for none of their time
 * slices, at the median a third as long. Only Linux has priorities of threads (setpriority(2), "C library/kernel
 * differences"), and an older Node has no names for them: then nothing is done. Whatever else uses libuv's threads (files,
 * the log, host names, the signature of a token that is new) yields as well. Rejects where a sandbox forbids it.
 */
export async function quietThreads(): Promise<void> {
  const threads = await readdir('/proc/self/task').catch(() => []) // by libuv, whose threads begin with this at the latest
  const nice = Math.min(getPriority() + nicerBy, nicest)
  for (const thread of threads) {
    const name = await readFile(`/proc/self/task/${thread}/comm`, 'utf8').catch(() => '')
    if (name === 'libuv-worker\n') setPriority(Number(thread), nice)
  }
}
