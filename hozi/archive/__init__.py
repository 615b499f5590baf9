"""The heart: images come in (`receive`), are found (`find`) and given back (`fetch`)."""
