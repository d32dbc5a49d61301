#!/bin/sh
# What an operator does to the daemon when the conformance suite asks for it. It lies in a folder of its own with
#   base     the configuration, every key on a line of its own as `section.key = value`
#   config   the path of the configuration that the daemon reads
#   log      the path of its log
#   pid      its process id
#   clock    what libfaketime adds to its clock, where there is libfaketime
set -eu
cd "$(dirname "$0")"

# Has the daemon take up the configuration in `next`, and waits until it serves by it.
reload() {
    before=$(grep -c 'serving.*directory=' "$(cat log)" || true)
    cp next "$(cat config)"
    kill -HUP "$(cat pid)"
    for _ in $(seq 600); do
        if [ "$(grep -c 'serving.*directory=' "$(cat log)" || true)" -gt "$before" ]; then
            exit 0
        fi
        sleep 0.1
    done
    echo 'the daemon does not take up its configuration' >&2
    exit 1
}

# Replaces keys of the base: each argument is a whole line.
become() {
    cp base next
    for line; do
        key=${line%% *}
        grep -v "^$key = " next > rest || true
        printf '%s\n' "$line" >> rest
        mv rest next
    done
    reload
}

# Moves the clock on, or back.
advance() {
    [ -f clock ] || exit 3
    now=$(cat clock)
    printf '%+d\n' "$((now + $1))" > clock.new
    mv clock.new clock
    # libfaketime looks once a second.
    sleep 2
}

case $1 in
    terms) become "acme.terms = \"$2\"" ;;
    limit-orders) become 'limits.enabled = true' "limits.new_orders_at_once = $2" 'limits.new_orders_per_hour = 1800' ;;
    order-lifetime) become "acme.order_lifetime = \"$2s\"" ;;
    ocsp-validity) become "ocsp.validity = \"$2s\"" ;;
    profile-withdraw)
        # The profiles that come with the daemon cannot be withdrawn.
        grep -q "^profiles\.$2\." base || exit 3
        grep -v "^profiles\.$2\." base > next
        reload
        ;;
    restore) cp base next && reload ;;
    clock) advance "$2" ;;
    # A responder whose clock went back cannot say what is so.
    ocsp-trouble) advance -3600 ;;
    *) exit 3 ;;
esac
