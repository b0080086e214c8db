import { Command, CommanderError } from 'commander'
import { createClient, ProblemError } from '../../../clients/typescript/src/index.ts'
import { modernize, UsageError } from './arguments.ts'
import { add, type Context, changePassword, get, list, remove, set, setLock, stat } from './commands.ts'
import { readPassword, type Streams } from './password.ts'
import { settingNames } from './settings.ts'

export interface Surroundings extends Streams {
  env: Readonly<Record<string, string | undefined>>
}

/** As the old tool had none that are documented: 1 refused by the service or no answer, 2 usage or no equivalent. */
type ExitCode = 0 | 1 | 2

const notNeeded =
  'Nothing to do: a quota needs no file. The limit of a mailbox is its quota_bytes, with that of its domain or of the server as the default.'

const noDirectory =
  'There is no Active Directory to migrate to in this version. Accounts stay where they are, with their passwords; people of a directory are set up by an import or by its identity management over the API.'

const remarks = `
Every command may be in upper or lower case. MAILWRIGHT_URL says where the service is (default http://127.0.0.1:8080),
MAILWRIGHT_TOKEN with which token to call it.

A password on the command line can be seen by everybody on this machine, and stays in the history of the shell. Leave it
out, or give - in its place: then it is asked for, or read from standard input.`

/** Runs one command line, in the spelling of the old tool. */
export async function winpop(args: readonly string[], surroundings: Surroundings): Promise<ExitCode> {
  const { stdout, stderr } = surroundings
  stdout.once('error', leave)
  try {
    await buildProgram(surroundings).parseAsync(modernize(args), { from: 'user' })
    return args.length === 0 ? 2 : 0 // without a command it shows what there is
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 && args.length > 0 ? 0 : 2
    const mistake = error instanceof UsageError
    stderr.write(`${describe(error as Error)}\n`)
    if (mistake) stderr.write('winpop help shows what there is.\n')
    return mistake ? 2 : 1
  } finally {
    await new Promise((resolve) => stdout.write('', resolve))
    stdout.off('error', leave)
  }
}

/** Whoever reads has seen enough, such as `head`. */
function leave(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE') throw error
  process.exit(0)
}

function describe(error: Error): string {
  if (!(error instanceof ProblemError)) {
    const { cause } = error
    return cause instanceof Error
      ? `No answer from the service: ${cause.message || (cause as NodeJS.ErrnoException).code}`
      : error.message
  }
  const { errors = [], detail: whole, conflict } = error.problem
  const hint =
    hints[error.code ?? ''] ??
    (error.code === 'name-taken' && conflict && `It belongs to ${conflict.address}.`)
  const others = errors.filter(({ detail }) => detail !== whole)
  const places = others.map(({ pointer, detail }) => `  ${pointer}: ${detail}`)
  return [error.message, ...(hint ? [hint] : []), ...places].join('\n')
}

/** What the old tool's words for the way out are. */
const hints: Record<string, string> = {
  'mailbox-deleted': 'winpop del removes it for good, so that its name is free.',
  'account-exists':
    'Add the mailbox without /createuser, or delete the account with its mailbox: winpop del … /deleteuser',
  'unknown-account': 'Add the mailbox with /createuser and a password.',
}

function buildProgram(surroundings: Surroundings): Command {
  const { stdout, stderr } = surroundings
  const program = new Command('winpop')
    .usage('<cmd> [<parameters>]')
    .description('Administers mail domains and mailboxes as the POP3 service of Windows Server 2003 was.')
    .helpOption(false)
    .helpCommand('help [cmd]', 'Shows what a command takes.')
    .addHelpText('after', remarks)
    .configureHelp({
      sortSubcommands: true,
      subcommandTerm: (command) => `${command.name().toUpperCase()} ${command.usage()}`.trimEnd(),
      optionTerm: ({ flags }) => flags.replace('--', '/'),
      commandUsage: (command) =>
        `winpop ${[command.parent && command.name(), command.usage()].filter(Boolean).join(' ')}`,
    })
    .configureOutput({ writeOut: (text) => stdout.write(text), writeErr: (text) => stderr.write(text) })
    .exitOverride()
  addCommands(program, surroundings)
  return program
}

/** The eleven in two halves; help lists them by their names. */
function addCommands(program: Command, surroundings: Surroundings): void {
  const command: Declare = (name, usage, description) =>
    program.command(name).usage(usage).description(description).helpOption(false).allowExcessArguments(false)
  const context = () => openContext(surroundings)
  addObjectCommands(command, context)
  addServerCommands(command, context, surroundings)
}

type Declare = (name: string, usage: string, description: string) => Command

/** Those about domains and mailboxes. */
function addObjectCommands(command: Declare, context: () => Context): void {
  command(
    'add',
    '<domain> | <user@domain> [/createuser <password>]',
    'Adds a domain, or a mailbox: with /createuser its account too, without it for the account that there is.',
  )
    .argument('<name>')
    .option('--createuser [password]')
    .action((name, { createuser }) => add(context(), name, createuser))
  command('changepwd', '<user@domain> [<new password>]', 'Changes the password.')
    .argument('<address>')
    .argument('[password]')
    .action((address, password) => changePassword(context(), address, password))
  command(
    'delete',
    '<domain> | <user@domain> [/deleteuser]',
    'Deletes a domain with all its mailboxes, or a mailbox, and the mail, for good; with /deleteuser the account too.',
  )
    .alias('del')
    .argument('<name>')
    .option('--deleteuser')
    .action((name, { deleteuser }) => remove(context(), name, deleteuser))
  command('list', '[<domain>]', 'Lists the domains, or the mailboxes of one.')
    .argument('[domain]')
    .action((domain) => list(context(), domain))
  command('lock', '<domain> | <user@domain>', 'Nobody can log on any more; mail still arrives.')
    .argument('<name>')
    .action((name) => setLock(context(), name, true))
  command('stat', '[<domain>]', 'Shows the numbers of the server, or of a domain.')
    .argument('[domain]')
    .action((domain) => stat(context(), domain))
  command('unlock', '<domain> | <user@domain>', 'Lets log on again.')
    .argument('<name>')
    .action((name) => setLock(context(), name, false))
}

/** Those about settings, and those that nothing is left of. */
function addServerCommands(command: Declare, context: () => Context, { stdout }: Streams): void {
  command('createquotafile', '<user@domain> [/user:<name>]', 'Is not needed any more.')
    .argument('<address>')
    .option('--user [name]')
    .action(() => void stdout.write(`${notNeeded}\n`))
  command('get', '<setting>', `Shows a setting: ${settingNames.join(', ')}.`)
    .argument('<setting>')
    .action((setting) => get(context(), setting))
  command('migratetoad', '<user@domain>', 'Has no equivalent.')
    .argument('<address>')
    .action(() => {
      throw new UsageError(noDirectory)
    })
  command('set', '<setting> <value>', 'Changes a setting.')
    .argument('<setting>')
    .argument('<value...>')
    .action((setting, values: string[]) => set(context(), setting, values.join(' ')))
}

function openContext(surroundings: Surroundings): Context {
  const { env, stdout, stderr } = surroundings
  const { MAILWRIGHT_URL: url = 'http://127.0.0.1:8080', MAILWRIGHT_TOKEN: token } = env
  if (!token)
    throw new UsageError(
      'MAILWRIGHT_TOKEN is not set. It holds the token that the service is called with: npm run -s token prints one where the service runs.',
    )
  if (!URL.canParse(url)) throw new UsageError('MAILWRIGHT_URL is not a URL.')
  return {
    client: createClient({ url, token, attempts: 3, timeoutSeconds: 900 }), // a large domain takes a while to delete
    print: (line) => void stdout.write(`${line}\n`),
    remark: (line) => void stderr.write(`${line}\n`),
    password: (given) => readPassword(given, surroundings),
  }
}
