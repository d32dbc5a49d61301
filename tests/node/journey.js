// Drives a CA with Node's acme-client.
//
// usage: node journey.js DIRECTORY_URL CHALLENGE_FOLDER FILE_PREFIX REASON_CODE NAME...
//
// Registers, orders, proves over http-01, writes PREFIX.chain.pem, renews into PREFIX.renewed.pem, and revokes the first.
// NODE_EXTRA_CA_CERTS says whom to trust, NODE_PATH where the library is.
'use strict';

const fs = require('fs');
const path = require('path');
const acme = require('acme-client');

async function main([directoryUrl, folder, prefix, reason, ...names]) {
    const accountKey = await acme.crypto.createPrivateEcdsaKey();
    const client = new acme.Client({ directoryUrl, accountKey, backoffMin: 200, backoffMax: 1000 });
    const file = (challenge) => path.join(folder, challenge.token);
    const obtain = async () => {
        const [, csr] = await acme.crypto.createCsr({ altNames: names }, await acme.crypto.createPrivateEcdsaKey('P-384'));
        return client.auto({
            csr,
            email: 'a@example.test',
            termsOfServiceAgreed: true,
            skipChallengeVerification: true,
            challengePriority: ['http-01'],
            challengeCreateFn: async (_authorization, challenge, content) => fs.writeFileSync(file(challenge), content),
            challengeRemoveFn: async (_authorization, challenge) => fs.rmSync(file(challenge), { force: true }),
        });
    };
    const first = await obtain();
    fs.writeFileSync(`${prefix}.chain.pem`, first);
    fs.writeFileSync(`${prefix}.renewed.pem`, await obtain());
    await client.revokeCertificate(first, { reason: Number(reason) });
}

main(process.argv.slice(2)).catch((error) => {
    console.error(error);
    process.exit(1);
});
