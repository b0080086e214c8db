import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { kill } from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'

export interface Child {
  /** The process, while there is one. */
  signal(signal: NodeJS.Signals): void
  /** Resolves when it has ended and stays so. */
  stop(): Promise<void>
}

export interface Program {
  file: string
  args: string[]
  env?: Record<string, string>
}

export type Say = (message: string) => void

const pauseMs = 1_000
const patienceMs = 20_000

/** Runs a server, and runs it again when it ends by itself, until it is told to stop. */
export function keepRunning({ file, args, env = {} }: Program, say: Say): Child {
  const stopping = new AbortController()
  let process: ChildProcess | undefined

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      // A session of its own: Ctrl-C in the terminal is for us, and Postfix's master ends its whole process group.
      process = spawn(file, args, {
        env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', ...env },
        detached: true,
        stdio: 'ignore',
      })
      const [code, signal] = await once(process, 'exit').catch((error: Error) => [error.message, null])
      if (stopping.signal.aborted) return
      endGroup(process)
      say(`${file} ended (${signal ?? `exit code ${code}`}) and is started again.`)
      await sleep(pauseMs, undefined, { signal: stopping.signal }).catch(() => undefined)
    }
  }

  // an error that nobody catches: without us they could be neither stopped nor started again
  globalThis.process.on('exit', () => void process?.kill('SIGTERM'))
  const running = run()
  return {
    signal: (signal) => void process?.kill(signal),
    async stop() {
      stopping.abort()
      process?.kill('SIGTERM')
      const ended = await Promise.race([running.then(() => true), sleep(patienceMs, false, { ref: false })])
      if (!ended) process?.kill('SIGKILL')
      await running
    },
  }
}

/** Children that outlive a killed master keep its ports for a while, and a new one from opening them. */
function endGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) kill(-pid, 'SIGTERM')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error // nobody is left
  }
}
