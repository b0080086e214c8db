import { oneOf } from '../schemas.ts'
import { securePasswordMechanisms } from './verifiers.ts'

export const SecurePasswordMechanism = oneOf(securePasswordMechanisms, { title: 'SecurePasswordMechanism' })
