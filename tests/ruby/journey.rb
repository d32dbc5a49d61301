# Drives a CA with Ruby's acme-client.
#
# usage: journey.rb DIRECTORY_URL TRUST.pem CHALLENGE_FOLDER FILE_PREFIX REASON_CODE NAME...
#
# Registers, orders, proves over http-01, writes PREFIX.chain.pem, renews into PREFIX.renewed.pem, and revokes the first.

require 'acme-client'
require 'openssl'

directory, trust, folder, prefix, reason, *names = ARGV
account_key = OpenSSL::PKey::EC.generate('prime256v1')
client = Acme::Client.new(private_key: account_key, directory: directory, connection_options: { ssl: { ca_file: trust } })
client.new_account(contact: 'mailto:a@example.test', terms_of_service_agreed: true)

def wait(resource, states)
  50.times do
    resource.reload
    return if states.include?(resource.status)

    abort "#{resource.class} became #{resource.status}" if resource.status == 'invalid'
    sleep 0.2
  end
  abort "#{resource.class} stays #{resource.status}"
end

obtain = lambda do
  order = client.new_order(identifiers: names)
  order.authorizations.each do |authorization|
    next if authorization.status == 'valid'

    challenge = authorization.http
    File.write(File.join(folder, challenge.token), challenge.file_content)
    challenge.request_validation
    wait(challenge, ['valid'])
  end
  wait(order, ['ready'])
  key = OpenSSL::PKey::RSA.new(2048)
  order.finalize(csr: Acme::Client::CertificateRequest.new(private_key: key, names: names))
  wait(order, ['valid'])
  order.certificate
end

first = obtain.call
File.write("#{prefix}.chain.pem", first)
File.write("#{prefix}.renewed.pem", obtain.call)
client.revoke(certificate: first, reason: Integer(reason))
