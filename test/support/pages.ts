import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

/** A block of commands, and the pieces of output that the block after it promises, in their order. */
export interface Step {
  commands: string
  promised: string[]
}

export function readSteps(markdown: string): Step[] {
  const blocks = [...markdown.matchAll(/^```(sh)?\n(.*?)^```$/gms)].map(([, kind, text = '']) => ({
    kind,
    text,
  }))
  return blocks.flatMap(({ kind, text }, i) => {
    const next = blocks[i + 1]
    const promised = next?.kind === undefined ? (next?.text ?? '').split('\n').filter(Boolean) : []
    return kind === 'sh' ? [{ commands: text, promised }] : []
  })
}

const mark = '=== next block'
const root = new URL('../..', import.meta.url)

/** One shell runs it all, as a reader would; a mark separates what each block printed. */
export async function followSteps(steps: Step[], env: NodeJS.ProcessEnv, before = ''): Promise<void> {
  const script = [before, ...steps.map(({ commands }) => `${commands}\necho '${mark}'`)].join('\n')
  const options = {
    cwd: root,
    env: { ...process.env, ...env },
    timeout: 300_000,
    maxBuffer: 64 * 1024 * 1024,
  }
  const { stdout } = await promisify(execFile)('bash', ['-e', '-c', script], options)
  const outputs = stdout.split(mark)
  for (const [i, step] of steps.entries()) assertPromised(step, outputs[i] ?? '')
}

function assertPromised({ commands, promised }: Step, output: string): void {
  let rest = output
  for (const piece of promised) {
    assert.ok(
      rest.includes(piece),
      `after\n${commands}\nthis was promised: ${piece}\nand this was left:\n${rest}`,
    )
    rest = rest.slice(rest.indexOf(piece) + piece.length)
  }
}
