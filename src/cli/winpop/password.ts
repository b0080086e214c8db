import { createInterface } from 'node:readline/promises'
import { Writable } from 'node:stream'
import { UsageError } from './arguments.ts'

/** Where a command reads and writes. */
export interface Streams {
  stdin: NodeJS.ReadableStream & { isTTY?: boolean }
  stdout: NodeJS.WritableStream
  stderr: NodeJS.WritableStream
}

/** What was given, unless it is missing or `-`: then asked for twice on a terminal, else the first line of the input. */
export async function readPassword(given: string | true | undefined, streams: Streams): Promise<string> {
  if (typeof given === 'string' && given !== '-') return given
  return streams.stdin.isTTY ? askTwice(streams) : firstLine(streams.stdin)
}

async function firstLine(stdin: NodeJS.ReadableStream): Promise<string> {
  const lines = createInterface({ input: stdin, crlfDelay: Number.POSITIVE_INFINITY })
  try {
    for await (const line of lines) {
      const text = line.replace(/^\uFEFF/, '') // Windows programs begin a file of UTF-8 with it
      if (text !== '') return text
    }
  } finally {
    lines.close()
  }
  throw new UsageError(
    'There is no password: neither in the command nor in what was read from standard input.',
  )
}

async function askTwice({ stdin, stderr }: Streams): Promise<string> {
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() }) // what is typed is not shown
  const terminal = createInterface({ input: stdin, output: silent, terminal: true })
  const lines = terminal[Symbol.asyncIterator]() // Ctrl-C and Ctrl-D end them
  const ask = async (prompt: string) => {
    stderr.write(prompt)
    const { value, done } = await lines.next()
    stderr.write('\n')
    if (done) throw new UsageError('Given up; nothing was done.')
    return value
  }
  try {
    const password = await ask('Password: ')
    if (password !== (await ask('The same again: '))) throw new UsageError('The two are not the same.')
    return password
  } finally {
    terminal.close()
  }
}
