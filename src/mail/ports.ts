import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

const patienceMs = 30_000

/** Waits until something listens on each of the ports. */
export async function waitForPorts(host: string, ports: readonly number[]): Promise<void> {
  const until = Date.now() + patienceMs
  for (const port of ports) {
    while (!(await listens(host, port))) {
      if (Date.now() > until) throw new Error(`Nothing listens on port ${port} after ${patienceMs / 1000} s.`)
      await sleep(50)
    }
  }
}

export function listens(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port })
    const answer = (yes: boolean) => () => {
      socket.destroy()
      resolve(yes)
    }
    socket.once('connect', answer(true)).once('error', answer(false))
  })
}
