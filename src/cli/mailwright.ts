#!/usr/bin/env node
import { Command } from 'commander'

type Run = (args: string[]) => Promise<void>

/** Each is loaded when it is run, with what it needs; its own part of the command line is its own affair. */
const commands: [name: string, description: string, load: () => Promise<Run>][] = [
  ['token', 'prints a bearer token of this installation', async () => (await import('../token.ts')).token],
  ['import', 'sends a file of rows to the service', async () => (await import('../import.ts')).importCommand],
  [
    'unseal',
    'opens the sealed passwords of answers',
    async () => (await import('../unseal.ts')).unsealCommand,
  ],
  ['winpop', 'administers domains and mailboxes as winpop.exe did', loadWinpop],
]

async function loadWinpop(): Promise<Run> {
  const { winpop } = await import('./winpop/program.ts')
  return async (args) => {
    process.exitCode = await winpop(args, process)
  }
}

const program = new Command('mailwright').enablePositionalOptions().exitOverride((error) => {
  process.exit(error.exitCode === 0 ? 0 : 2)
})
for (const [name, description, load] of commands)
  program
    .command(name)
    .description(description)
    .usage('[arguments]')
    .argument('[arguments...]')
    .helpOption(false)
    .allowUnknownOption()
    .passThroughOptions()
    .action(async (args: string[]) => (await load())(args))
await program.parseAsync()
